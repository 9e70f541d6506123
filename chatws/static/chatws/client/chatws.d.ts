/**
 * Types of chatws.js, the browser client of a chatws gateway. The checks of chatws.js compare it with these types.
 * Fields have the names of the wire (docs/protocol.md). Times are Unix seconds, durations are seconds.
 */

/** An integer. One above 2^53 is a string of its digits. Compare ids by `String(id)`. */
export type Id = number | string;

/** The epoch and offset of the last publication that a client has received from a feed. */
export interface Position {
  epoch: string;
  offset: number;
}

/** Positions by feed: `group:<group_id>` and `user:<user_id>`. */
export type Positions = Record<string, Position>;

/** The position of one feed, as the server reports it. `recovered`: the publications since the client's position follow. */
export interface FeedPosition extends Position {
  feed: string;
  recovered?: boolean;
}

/** A frame of the server: one JSON object on the wire. A publication has `feed`, `epoch` and `offset`. */
export interface Frame<Data = unknown> {
  type: string;
  message_id: string;
  timestamp: number;
  data: Data;
  feed?: string;
  epoch?: string;
  offset?: number;
}

/** A frame of the client, as in `pending`, `resend` and errors. Sent again unchanged, it is the same message. */
export interface ClientFrame {
  type: string;
  message_id: string;
  timestamp: number;
  data: Record<string, unknown>;
}

/** The data of each frame that the client can send, by the frame's type. */
export interface Requests {
  send_message: { group_id: string; msg_type: 1 | 2; content: string; image_url: string };
  mark_read: { group_id: string; message_id: string };
  history: { group_id: string; before_id: string; limit: number };
  presence: { group_id: string };
  /** The client adds its position of the moment when the frame is sent. */
  join_group: { group_id: string };
  leave_group: { group_id: string };
  ping: Record<string, never>;
}

/** The data of the answer to each of these frames. */
export interface Answers {
  send_message: Ack;
  mark_read: Ack;
  history: HistoryPage;
  presence: Presence;
  join_group: GroupPosition;
  leave_group: { group_id: string };
  ping: Record<string, never>;
}

export interface ChatOptions {
  /**
   * A JWT, or a function that returns one. With `fresh: true` the last token was refused or expires soon, so the
   * function must return a new one. If it returns `null` or `""`, the client stops with 4401. If it throws, returns
   * something else or takes longer than `tokenTimeout`, the client tries again later. With a string the client stops when that token expires.
   */
  token: string | ((want: { fresh: boolean }) => string | null | undefined | Promise<string | null | undefined>);
  /** Where to resume: the `positions` of an earlier client of the same user. */
  positions?: Positions;
  /**
   * Longest wait before the second attempt to connect, in seconds; doubled for each further attempt. Default 0.5.
   * Programs use this name, so it stays without its unit.
   */
  firstWait?: number;
  /**
   * Longest wait before any attempt, in seconds, unless the server asks for more. Default 30.
   * Programs use this name, so it stays without its unit.
   */
  longestWait?: number;
  /** How long the token function may take, in seconds. Default 20. */
  tokenTimeout?: number;
  /** The WebSocket class to use; the global one by default. */
  WebSocket?: typeof WebSocket;
}

export interface SendOptions {
  /** The frame's `message_id`, at most 64 characters; `newId()` by default. */
  id?: string;
  /** The frame's `timestamp` in Unix seconds; now by default. Same id, time and content: the same message. */
  timestamp?: number;
  /** Aborting it rejects the promise with the signal's reason. A message that was already sent may be stored. */
  signal?: AbortSignal;
}

export interface Ack {
  /** The server's id of the stored message. */
  message_id: string;
  success: boolean;
}

export interface Message {
  message_id: string;
  group_id: string;
  sender_id: Id;
  /** `sender_id` as a string. */
  sender?: string;
  sender_name: string;
  sender_avatar: string;
  /** 1 text, 2 image. */
  msg_type: 1 | 2;
  content: string;
  image_url: string;
  created_at: number;
  /** In messages of the history: 1 normal, 2 recalled. */
  status?: 1 | 2;
}

export interface HistoryPage {
  group_id: string;
  /** Newest first. */
  messages: Message[];
  has_more: boolean;
}

export interface Presence {
  group_id: string;
  users: { user_id: Id; connections: number; last_seen: number }[];
}

export interface GroupPosition extends FeedPosition {
  group_id: string;
}

export interface ServerError {
  /** An HTTP status; 1006 if the client couldn't connect. */
  code: number;
  message: string;
  /** With 1006: `token` (the token function failed), `socket`, `address` (the browser refused) or `unreachable`. */
  reason?: string;
  /** Seconds. */
  retry_after?: number;
}

export type State = "stopped" | "connecting" | "online" | "waiting";

/** The `detail` of each event, by the event's type. */
export interface ChatEvents {
  /**
   * The client's state changed. `waiting`: the client reconnects by itself. `stopped`: it doesn't, and the application
   * has to act. Both have the close code (docs/protocol.md; 1006: the connection broke), and the reason if there is one.
   */
  state: { state: State; code?: number; message?: string; reason?: string };
  /** Authenticated on a new connection. */
  ready: {
    user_id: string;
    connection_id?: string;
    expires_at?: number;
    heartbeat_seconds?: number;
    groups?: string[];
    feeds?: FeedPosition[];
  };
  /** The publications between the client's old position in this feed and this one are lost: ask for the history. */
  lost: FeedPosition;
  /**
   * An error that answers no frame of the client; or, with code 1006, a failure to connect: told once until the client
   * was online or the failure is another one. There is no frame then.
   */
  error: ServerError;
  new_message: Message;
  notification: { notification_id: string; type: string; title: string; content: string };
  verify_progress: { verify_id: Id; status: number; refresh: boolean };
  group_member: { group_id: string; user_id: Id; change: "added" | "removed" };
  membership: { group_id: string; change: "added" | "removed" };
  /** This connection is subscribed to the group now. */
  group_joined: GroupPosition;
  /** This connection is no longer subscribed to the group. */
  group_left: { group_id: string };
  message_read: { group_id: string; user_id: Id; message_id: string };
  typing: { group_id: string; user_id: Id; typing: boolean };
  presence: Presence;
  history: HistoryPage;
  ack: Ack;
  feed_reset: FeedPosition & { recovered: false };
  auth_success: ChatEvents["ready"];
  auth_failed: { message: string; reason?: "missing" | "invalid" | "expired" | "revoked" | "timeout" };
  shutdown: { retry_after: number };
  pong: Record<string, never>;
}

/** An event of the client. */
export class ChatEvent<Type extends keyof ChatEvents = keyof ChatEvents> {
  constructor(type: Type, detail: ChatEvents[Type], frame?: Frame<ChatEvents[Type]>);
  readonly type: Type;
  readonly detail: ChatEvents[Type];
  /** The frame that brought the data. The events `state` and `lost` have none. */
  readonly frame?: Frame<ChatEvents[Type]>;
}

/** The base class of the errors with which promises are rejected. */
export class ChatError extends Error {
  constructor(code: number, message: string, more?: object);
  readonly code: number;
  readonly reason?: string;
  readonly retry_after?: number;
  /** The frame that was refused or not answered; `resend` takes it. */
  readonly frame: ClientFrame;
}

/** The server refused the frame: `code` is an HTTP status. 429, 500 and 503 are retried first. */
export class RefusedError extends ChatError {}

/** The client ended before the frame was answered: `code` is the close code. */
export class ClosedError extends ChatError {}

/** Return a random id of 128 bits, at most 43 characters. */
export function newId(): string;

/** Parse JSON; an integer that a double can't hold, such as an id above 2^53, becomes a string of its digits. */
export function parseJson(text: string): unknown;

export interface ListenOptions {
  once?: boolean;
  signal?: AbortSignal;
}

/**
 * One user's connection. The publications of a feed arrive in order, without a gap and once; if some can't be delivered
 * there is an event `lost`. A message that is sent without a connection waits for the next one, and is stored once.
 * A listener that throws is reported as an uncaught error; it stops neither other listeners nor the client.
 */
export class ChatClient {
  /** @param url of the gateway; may be relative to the page; http(s) becomes ws(s) */
  constructor(url: string | URL, options: ChatOptions);
  readonly url: string;
  /** The user of the token; null until the first authentication. */
  readonly userId: string | null;
  readonly state: State;
  /** The position in each feed. Keep it, and pass it to the next client as the option `positions`. */
  readonly positions: Positions;
  /** The frames without an answer, in order; `resend` takes them, here or in another client of the same user. */
  readonly pending: ClientFrame[];

  /** Connect, and reconnect until `close` or a close code of 44xx. */
  connect(): void;
  /** Disconnect, and reject the frames without an answer with a `ClosedError`. `connect` starts again. */
  close(): void;
  /**
   * Reconnect now if the server allows it, at most every three seconds. Ping if there is a connection. The client calls this itself when the network
   * comes or goes, and when the page becomes visible.
   */
  hurry(): void;

  /** Listen to an event. Returns a function that ends it. */
  listen<Type extends keyof ChatEvents>(
    type: Type,
    listener: (detail: ChatEvents[Type], event: ChatEvent<Type>) => void,
  ): () => void;
  addEventListener<Type extends keyof ChatEvents>(
    type: Type,
    listener: (event: ChatEvent<Type>) => void,
    options?: ListenOptions,
  ): void;
  removeEventListener<Type extends keyof ChatEvents>(type: Type, listener: (event: ChatEvent<Type>) => void): void;
  dispatchEvent(event: ChatEvent): void;

  /**
   * Send a text of 1 to 5,000 characters, or an image by its absolute http(s) URL. Resolves once the message is stored.
   * Messages to one chat group are sent one after the other, in order.
   * @throws {RefusedError} the server refused it
   * @throws {ClosedError} the client ended first
   */
  send(groupId: string, content: string | { image_url: string; content?: string }, options?: SendOptions): Promise<Ack>;
  /** Tell the group that this user has read up to a message. Rejects like `send`. */
  markRead(groupId: string, messageId: string, options?: SendOptions): Promise<Ack>;
  /** Ask for messages before an id; without one, for the newest. `limit`: 1 to 100, default 50. Rejects like `send`. */
  history(groupId: string, options?: SendOptions & { before?: string; limit?: number }): Promise<HistoryPage>;
  /** Ask which users of a group are online. Rejects like `send`. */
  presence(groupId: string, options?: SendOptions): Promise<Presence>;
  /**
   * Subscribe to a group again after `leave`. The messages since then follow. Rejects like `send`.
   * Joins and leaves of one group are sent one after the other, in order.
   */
  join(groupId: string, options?: SendOptions): Promise<GroupPosition>;
  /** Unsubscribe this connection from a group. The next connection is subscribed to all groups. */
  leave(groupId: string, options?: SendOptions): Promise<{ group_id: string }>;
  /** Tell the group that the user types, or stopped. Sent once or not at all. */
  typing(groupId: string, typing?: boolean): void;

  /** Send a frame of any type. Resolves with the data of its answer. Rejects like `send`. */
  request<Type extends string>(
    type: Type,
    data: Type extends keyof Requests ? Requests[Type] : Record<string, unknown>,
    options?: SendOptions,
  ): Promise<Type extends keyof Answers ? Answers[Type] : unknown>;
  /** Send a frame again, unchanged. Rejects like `send`. */
  resend(frame: ClientFrame, options?: { signal?: AbortSignal }): Promise<unknown>;
}

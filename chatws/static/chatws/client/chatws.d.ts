/**
 * Types of chatws.js, the browser client of a chatws gateway.
 * Names of fields are those of the wire (docs/protocol.md). Times are Unix seconds, durations seconds.
 */

/** An integer; a string where it lies above 2^53 and the engine shows the source of numbers to JSON.parse. */
export type Id = number | string;

/** The last epoch and offset that a client has of a feed. */
export interface Place {
  epoch: string;
  offset: number;
}

/** Places by feed: `group:<group_id>` and `user:<user_id>`. */
export type Places = Record<string, Place>;

/** One JSON object on the wire. */
export interface Frame<Data = unknown> {
  type: string;
  message_id: string;
  timestamp: number;
  data: Data;
  feed?: string;
  epoch?: string;
  offset?: number;
}

/** What the client sends; `pending`, `resend` and errors carry it. Sent again unchanged, it is the same message. */
export interface ClientFrame {
  type: string;
  message_id: string;
  timestamp: number;
  data: Record<string, unknown>;
}

export interface ChatOptions {
  /**
   * A JWT, or a function that brings one; `fresh`: not the one that was used last, since it was refused or is about to
   * expire. Nothing (`null`, `""`): there is none, so the client stops with 4401. A rejection: not now, so it tries
   * again. With a string the client stops when that token expires.
   */
  token: string | ((want: { fresh: boolean }) => string | null | undefined | Promise<string | null | undefined>);
  /** Where to resume: `places` of an earlier client of the same user. */
  places?: Places;
  /** Longest wait before the second try to connect, doubled for each further one. Default 0.5. */
  firstWait?: number;
  /** Longest wait of all, apart from what the server asks for. Default 30. */
  longestWait?: number;
  /** The WebSocket to use, where there is no global one. */
  WebSocket?: typeof WebSocket;
}

export interface SendOptions {
  /** The frame's `message_id`, at most 64 characters; `newId()` by default. */
  id?: string;
  /** The frame's `timestamp`; now by default. With the same id, time and content it is the same message. */
  timestamp?: number;
  /** Aborting gives up: the promise is rejected with its reason. What was sent already may be stored. */
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
  /** Of a message from the history: 1 normal, 2 recalled. */
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

export interface GroupPlace extends Place {
  group_id: string;
  feed: string;
  recovered?: boolean;
}

export interface ServerError {
  /** As in HTTP. */
  code: number;
  message: string;
  reason?: string;
  retry_after?: number;
}

export type State = "stopped" | "connecting" | "online" | "waiting";

/** What happens: event type → `detail`. */
export interface ChatEvents {
  /**
   * The client's state changed. `waiting`: it comes back by itself; `stopped`: it doesn't, something has to change
   * first. Both with the close code (docs/protocol.md; 1006: the connection broke) and why, as far as that was said.
   */
  state: { state: State; code?: number; message?: string; reason?: string };
  /** Authenticated, anew or again. */
  ready: {
    user_id: string;
    connection_id?: string;
    expires_at?: number;
    heartbeat_seconds?: number;
    groups?: string[];
    feeds?: (Place & { feed: string; recovered?: boolean })[];
  };
  /** What lies between where the client stood in this feed and this place can't be had from it: ask for the history. */
  lost: Place & { feed: string; recovered?: boolean };
  /** An error that answers none of our frames. */
  error: ServerError;
  new_message: Message;
  notification: { notification_id: string; type: string; title: string; content: string };
  verify_progress: { verify_id: Id; status: number; refresh: boolean };
  group_member: { group_id: string; user_id: Id; change: "added" | "removed" };
  membership: { group_id: string; change: "added" | "removed" };
  /** This connection hears the group now. */
  group_joined: GroupPlace;
  /** This connection no longer hears the group. */
  group_left: { group_id: string };
  message_read: { group_id: string; user_id: Id; message_id: string };
  typing: { group_id: string; user_id: Id; typing: boolean };
  presence: Presence;
  history: HistoryPage;
  ack: Ack;
  feed_reset: Place & { feed: string; recovered: false };
  auth_success: ChatEvents["ready"];
  auth_failed: { message: string; reason?: "missing" | "invalid" | "expired" | "revoked" | "timeout" };
  shutdown: { retry_after: number };
  pong: Record<string, never>;
}

export class ChatEvent<Type extends keyof ChatEvents = keyof ChatEvents> extends Event {
  constructor(type: Type, detail: ChatEvents[Type], frame?: Frame<ChatEvents[Type]>);
  readonly type: Type;
  readonly detail: ChatEvents[Type];
  /** The frame that brought it; `state`, `lost`: none. */
  readonly frame?: Frame<ChatEvents[Type]>;
}

/** What the client rejects with. */
export class ChatError extends Error {
  constructor(code: number, message: string, more?: object);
  readonly code: number;
  readonly reason?: string;
  readonly retry_after?: number;
  /** What was not answered, or refused; `resend` takes it. */
  readonly frame: ClientFrame;
}

/** The server won't take the frame: `code` as in HTTP. 429, 500 and 503 are tried again first. */
export class RefusedError extends ChatError {}

/** The client ended before the frame had an answer: `code` is the close code. */
export class ClosedError extends ChatError {}

/** An id that no other frame has: 128 random bits, at most 43 characters. */
export function newId(): string;

/**
 * One user's connection. Publications of a feed come in order, without a gap and once; where that can't be kept there
 * is a `lost`. What is sent while there is no connection waits, is sent on the next one, and is stored once.
 */
export class ChatClient extends EventTarget {
  /** @param url of the gateway; relative to the page where there is one; http(s) becomes ws(s) */
  constructor(url: string | URL, options: ChatOptions);
  readonly url: string;
  /** The user of the token, once authenticated. */
  readonly userId: string | null;
  readonly state: State;
  /** Where this client stands in each feed. Keep it, give it to the next one as option `places`. */
  readonly places: Places;
  /** Frames that have no answer yet, in order; `resend` takes them, here or in another client of the same user. */
  readonly pending: ClientFrame[];

  /** Connect, and stay connected until `close` or until the server wants something changed (44xx). */
  connect(): void;
  /** End. What has no answer is rejected with a `ClosedError`; `connect` begins again. */
  close(): void;
  /** Come back now, if the server allows it, or see whether the connection lives. Called by itself when the network
   * comes or goes and when the page is looked at. */
  hurry(): void;

  /** Listen; returns what ends that. */
  listen<Type extends keyof ChatEvents>(
    type: Type,
    listener: (detail: ChatEvents[Type], event: ChatEvent<Type>) => void,
  ): () => void;
  addEventListener<Type extends keyof ChatEvents>(
    type: Type,
    listener: (event: ChatEvent<Type>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;

  /**
   * Send a text of 1 to 5,000 characters, or an image by its absolute http(s) URL. Resolves once it is stored.
   * Messages to one chat group are sent one after the other, in order.
   * @throws {RefusedError} the server won't take it
   * @throws {ClosedError} the client ended first
   */
  send(groupId: string, content: string | { image_url: string; content?: string }, options?: SendOptions): Promise<Ack>;
  /** Tell the group that this user has read up to a message. Rejects like `send`. */
  markRead(groupId: string, messageId: string, options?: SendOptions): Promise<Ack>;
  /** Messages of a group before an id (the newest without one). `limit`: 1 to 100, default 50. Rejects like `send`. */
  history(groupId: string, options?: SendOptions & { before?: string; limit?: number }): Promise<HistoryPage>;
  /** Who of a group is online. Rejects like `send`. */
  presence(groupId: string, options?: SendOptions): Promise<Presence>;
  /** Hear a group again after `leave`; what was said meanwhile follows. */
  join(groupId: string, options?: SendOptions): Promise<GroupPlace>;
  /** Stop hearing a group on this connection; the next connection hears all groups again. */
  leave(groupId: string, options?: SendOptions): Promise<{ group_id: string }>;
  /** Tell the others that the user types, or no longer. Sent once or not at all. */
  typing(groupId: string, typing?: boolean): void;

  /** Send any frame; resolves with the data of its answer. Rejects like `send`. */
  request(type: string, data: Record<string, unknown>, options?: SendOptions): Promise<unknown>;
  /** Send a frame again, unchanged. Rejects like `send`. */
  resend(frame: ClientFrame, options?: { signal?: AbortSignal }): Promise<unknown>;
}

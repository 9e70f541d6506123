// chatws.js: one user's connection to a chatws gateway. It reconnects, resumes its feeds and sends each message once.
// Runs in pages, workers, Node 22 and React Native, without globals of the DOM. Public types: chatws.d.ts. Protocol: docs/protocol.md. Times are in seconds.

/** @import * as api from "./chatws.js" */
/** @typedef {ReturnType<typeof setTimeout>} Timer */
/** @typedef {Partial<api.FeedPosition & api.ServerError & api.Ack & api.ChatEvents["ready"]>} Data of a server's frame */
/** @typedef {{ frame: api.ClientFrame, text: string, sent: boolean, notBefore: number, failures: number } & Settle} Entry */
/** @typedef {{ resolve(data: unknown): void, reject(error: unknown): void }} Settle */
/** @typedef {(event: any) => void} Listener */

const HEARTBEAT_SECONDS = 25;
const ANSWER_SECONDS = 10;
const PROBE_SECONDS = 4;
const WELCOME_SECONDS = 15;
const STEADY_SECONDS = 10; // a connection that lived longer resets the failures
const RENEW_SECONDS = 60; // how long before its end a token is renewed
const HURRY_SECONDS = 3; // shortest time between two attempts that `hurry` asked for
const MAX_TIMER_SECONDS = 86_400;
const REVOKED_SECONDS = 2; // a fresh token of the same second is revoked too
const CLOSE_NORMAL = 1000;
const CLOSE_LOST = 1006;
const CLOSE_TOO_BIG = 1009;
const CLOSE_GIVEN_UP = 4000; // sent by this client to a gateway that is silent or breaks the protocol
const CLOSE_UNAUTHENTICATED = 4401;
const CLOSE_TOO_FAST = 4529;
const MAX_KNOWN_IDS = 10_000;
const MAX_RESUMED_FEEDS = 400; // the server's limit for one auth
const MAX_POSITIONS = 1_000; // kept beside those of the connection's own feeds
const MAX_PENDING_FRAMES = 1_000;
const MAX_PENDING_CHARACTERS = 8_000_000;
const MAX_FRAME_FAILURES = 3; // of a frame that the server answers with 500
const RETRIED_CODES = [429, 500, 503];

/** The time by a clock that nobody sets; the wall clock only where there is no other. */
const now = () => (globalThis.performance ?? Date).now() / 1000;

/**
 * Return seconds that the server named, as a timer can wait; 0 if they are no positive number.
 * @param {unknown} value
 */
const seconds = (value) => Math.min(Math.max(Number(value) || 0, 0), MAX_TIMER_SECONDS);

/** @param {any} error */
const words = (error) => String(error?.message || error?.name || error);

/** The base class of the client's errors. */
export class ChatError extends Error {
  /** @param {number} code @param {string} [message] @param {object} [more] */
  constructor(code, message, more) {
    super(message);
    Object.assign(this, more, { name: new.target.name, code });
  }
}

/** The server refused `frame`: `code` is an HTTP status. */
export class RefusedError extends ChatError {}

/** The client ended before `frame` was answered: `code` is the close code. The frame may be sent again. */
export class ClosedError extends ChatError {}

/** An event of the client: `detail` is the data, `frame` is the frame that brought it. */
export class ChatEvent {
  /** @param {string} type @param {unknown} detail @param {api.Frame} [frame] */
  constructor(type, detail, frame) {
    Object.assign(this, { type, detail, frame });
  }
}

/** Calls listeners, as EventTarget does. One that throws is reported, and stops neither the others nor the client. */
class Emitter {
  /** @type {Map<string, Map<Listener, boolean | undefined>>} */
  #listeners = new Map(); // by type; whether the listener is called once

  /** @param {string} type @param {Listener} listener @param {api.ListenOptions} [options] */
  addEventListener(type, listener, { once, signal } = {}) {
    const listeners = this.#listeners.get(type) ?? new Map();
    if (signal?.aborted || listeners.has(listener)) return;
    this.#listeners.set(type, listeners.set(listener, once));
    signal?.addEventListener("abort", () => this.removeEventListener(type, listener));
  }

  /** @param {string} type @param {Listener} listener */
  removeEventListener(type, listener) {
    this.#listeners.get(type)?.delete(listener);
  }

  /** @param {ChatEvent & { type?: string }} event */
  dispatchEvent(event) {
    const listeners = this.#listeners.get(event.type ?? "");
    for (const [listener, once] of [...(listeners ?? [])]) {
      if (!listeners?.has(listener)) continue;
      if (once) listeners.delete(listener);
      try {
        listener(event);
      } catch (error) {
        setTimeout(() => {
          throw error;
        });
      }
    }
  }
}

/** Return a random id of 128 bits. */
export function newId() {
  const parts = Array.from({ length: 4 }, () => Math.floor(Math.random() * 2 ** 32));
  return (globalThis.crypto?.getRandomValues?.(new Uint32Array(parts)) ?? parts).join("-");
}

/**
 * Parse JSON. An integer that a double can't hold, such as an id above 2^53, becomes a string of its digits.
 * @param {string} text
 */
export function parseJson(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  JSON.parse(text); // valid: so every quotation mark below opens or closes a string
  const exact = (/** @type {string} */ token) =>
    /^\d+$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token;
  return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|[-+.\deE]+/g, exact));
}

/** The client's position in each feed, and the ids of the publications that it has received. */
class Positions {
  /** @type {Map<string, api.Position>} */
  #positions; // by feed; the one that moved last is the last
  /** @type {Set<string>} */
  #ids = new Set(); // oldest first

  /** @param {api.Positions} [positions] */
  constructor(positions = {}) {
    const known = Object.entries(positions ?? {});
    this.#positions = new Map(
      known.filter(([, at]) => typeof at?.epoch === "string" && Number.isSafeInteger(at.offset)),
    );
  }

  /** @param {string} feed */
  get(feed) {
    return this.#positions.get(feed);
  }

  all() {
    return Object.fromEntries(this.#positions);
  }

  /** Return the `resume` of an `auth` frame. */
  resume() {
    return Object.fromEntries([...this.#positions].slice(-MAX_RESUMED_FEEDS));
  }

  /**
   * Forget the oldest of too many positions, except those of the connection's own feeds.
   * @param {api.FeedPosition[]} feeds
   */
  prune(feeds) {
    const own = new Set(feeds.map(({ feed }) => feed));
    const others = [...this.#positions.keys()].filter((feed) => !own.has(feed));
    for (const feed of others.slice(0, -MAX_POSITIONS)) this.#positions.delete(feed);
  }

  /**
   * Take the position that the server reports. Return whether publications between the old position and it are lost.
   * @param {api.FeedPosition} reported
   */
  report({ feed, epoch, offset, recovered }) {
    const before = this.#positions.get(feed);
    if (recovered && before) return false;
    this.#move(feed, epoch, offset);
    return before ? before.epoch !== epoch || before.offset !== offset : recovered === false;
  }

  /**
   * Take a publication. Return "next", "known" (nothing to show) or "gap" (publications before it are missing).
   * @param {api.Frame & api.FeedPosition} publication
   */
  step({ type, message_id: id, feed, epoch, offset }) {
    const position = this.#positions.get(feed);
    if (position?.epoch !== epoch || offset > position.offset + 1) return "gap";
    if (offset <= position.offset) return "known";
    this.#move(feed, epoch, offset);
    return !["new_message", "notification"].includes(type) || this.isNew(id) ? "next" : "known";
  }

  /** @param {string} id */
  isNew(id) {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    const [oldest] = this.#ids;
    if (this.#ids.size > MAX_KNOWN_IDS) this.#ids.delete(oldest);
    return true;
  }

  /** @param {string} feed @param {string} epoch @param {number} offset */
  #move(feed, epoch, offset) {
    this.#positions.delete(feed);
    this.#positions.set(feed, { epoch, offset });
  }
}

/** The frames that have no answer yet. Each is sent again on the next connection. */
class Queue {
  /** @type {Entry[]} */
  #entries = []; // in order
  #write;
  #wait;
  /** @type {Timer | undefined} */
  #timer;

  /**
   * @param {(entry: Entry) => boolean} write sends a frame; returns false without a connection
   * @param {(failures: number) => number} wait returns the longest wait, in seconds, after so many failures
   */
  constructor(write, wait) {
    this.#write = write;
    this.#wait = wait;
  }

  get frames() {
    return this.#entries.map(({ frame }) => frame);
  }

  /** @param {api.ClientFrame} frame @param {AbortSignal} [signal] */
  async add(frame, signal) {
    const text = JSON.stringify(frame); // once: a message is always sent unchanged
    if (typeof frame.type !== "string") throw new TypeError("a frame has a type");
    if (signal?.aborted) throw signal.reason ?? new Error("aborted");
    const waiting = this.#entries.reduce((sum, entry) => sum + entry.text.length, text.length);
    if (this.#entries.length >= MAX_PENDING_FRAMES || waiting > MAX_PENDING_CHARACTERS)
      throw new RefusedError(429, "too many frames wait", { frame });
    const entry = /** @type {Entry} */ ({ frame, text, sent: false, notBefore: 0, failures: 0 });
    const answer = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    const abort = () => this.#settle(entry, "reject", signal?.reason ?? new Error("aborted"));
    signal?.addEventListener("abort", abort);
    this.#entries.push(entry);
    this.pump();
    return answer.finally(() => signal?.removeEventListener("abort", abort));
  }

  /**
   * Take a frame of the server. Return whether it answers one of these.
   * @param {api.Frame<Data>} frame
   */
  answer({ type, message_id: id, data }) {
    const entry = this.#entries.find(({ sent, frame }) => sent && frame.message_id === id);
    if (!entry) return false;
    const { code = 0 } = data;
    if (data.success === false) this.#refuse(entry, { code: 500, message: "not stored" });
    else if (type !== "error") this.#settle(entry, "resolve", data);
    else if (RETRIED_CODES.includes(code) && (code !== 500 || entry.failures < MAX_FRAME_FAILURES - 1)) {
      entry.sent = false;
      entry.notBefore = now() + seconds(data.retry_after) + Math.random() * this.#wait(++entry.failures);
      this.pump();
    } else if (code !== 401) this.#refuse(entry, data); // after a 401 the server closes, and the client reconnects
    return true;
  }

  /** Send what waits; of one chat group only the first message, and the first join or leave: they keep their order. */
  pump() {
    const busy = new Set();
    let next = Infinity;
    for (const entry of this.#entries) {
      const { type, data } = entry.frame;
      const [kind] = type.match(/_(message|group)$/) ?? [];
      const lane = kind && kind + data?.group_id;
      if (lane && busy.has(lane)) continue;
      busy.add(lane);
      if (entry.notBefore > now()) next = Math.min(next, entry.notBefore);
      else entry.sent ||= this.#write(entry);
    }
    clearTimeout(this.#timer);
    if (next < Infinity) this.#timer = setTimeout(() => this.pump(), seconds(next - now()) * 1000);
  }

  /** Mark all frames unsent, as the connection is lost. */
  rewind() {
    for (const entry of this.#entries) entry.sent = false;
  }

  /** Refuse the largest frame that was sent: the server closed because one was too big. */
  refuseLargest() {
    const sent = this.#entries.filter((entry) => entry.sent);
    const [largest] = sent.sort((one, other) => other.text.length - one.text.length);
    if (largest) this.#refuse(largest, { code: 413, message: "the frame is too big" });
  }

  /** @param {number} code @param {string} message @param {string} [reason] */
  end(code, message, reason) {
    clearTimeout(this.#timer);
    for (const { frame, reject } of this.#entries.splice(0)) reject(new ClosedError(code, message, { reason, frame }));
  }

  /** @param {Entry} entry @param {Data} error */
  #refuse(entry, { code = 0, message, reason, retry_after }) {
    this.#settle(entry, "reject", new RefusedError(code, message, { reason, retry_after, frame: entry.frame }));
  }

  /** @param {Entry} entry @param {"resolve" | "reject"} how @param {unknown} value */
  #settle(entry, how, value) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    entry[how](value);
    this.pump();
  }
}

/**
 * One user's connection to the gateway.
 * @implements {Omit<api.ChatClient, "addEventListener">}
 */
export class ChatClient extends Emitter {
  #options;
  /** @type {api.State} */
  #state = "stopped";
  #ended = 0; // the close code, once the client has ended
  /** @type {object | null} */
  #attempt = null; // the newest attempt to connect; older ones give up
  /** @type {WebSocket | null} */
  #socket = null;
  #positions;
  #queue = new Queue(
    ({ frame, text }) => {
      if (this.#state !== "online") return false;
      const { type, data } = frame;
      if (type !== "join_group") return this.#write(text);
      const resume = this.#positions.get(`group:${data?.group_id}`); // the present one, whenever it is sent
      return this.#write(JSON.stringify({ ...frame, data: { ...data, resume } }));
    },
    (failures) => this.#window(failures),
  );
  /** @type {Record<string, Timer>} */
  #timers = {};
  /** @type {(() => void)[]} */
  #unwatch = []; // end the listeners to the page
  #failures = 0;
  #retryAt = 0;
  #hurried = false; // this wait is short already
  #hurriedAt = -Infinity;
  #told = ""; // the message of the last event about a failure to connect
  #notBefore = 0; // the server's retry_after, as a time
  #stale = false; // the token was refused: the next one has to be fresh
  /** @type {Data | null} */
  #why = null; // data of the last auth_failed, or of the last error that answered no frame
  #opened = false;
  #readyAt = 0;
  #receivedAt = 0;
  #expiresAt = 0; // by the client's own clock
  #types = true; // until the server answers that it doesn't know typing

  /** @param {string | URL} url @param {api.ChatOptions} options */
  constructor(url, options) {
    super();
    // React Native's URL changes and understands too little: an absolute address is left alone.
    const address = /^\w+:/.test(String(url)) ? String(url) : new URL(url, globalThis.location?.href).href;
    this.url = address.replace(/^http/i, "ws");
    /** @type {string | null} */
    this.userId = null;
    const { firstWait = 0.5, longestWait = 30, tokenTimeout = 20, WebSocket = globalThis.WebSocket } = options;
    this.#options = { ...options, firstWait, longestWait, tokenTimeout, WebSocket };
    this.#positions = new Positions(this.#options.positions);
  }

  get state() {
    return this.#state;
  }

  /** The position in each feed; the option `positions` of the next client. */
  get positions() {
    return this.#positions.all();
  }

  /** The frames without an answer, in order. */
  get pending() {
    return this.#queue.frames;
  }

  /**
   * Listen to an event. Return a function that ends it.
   * @type {api.ChatClient["listen"]}
   */
  listen(type, listener) {
    const call = (/** @type {any} */ event) => listener(event.detail, event);
    this.addEventListener(type, call);
    return () => this.removeEventListener(type, call);
  }

  /** Connect, and reconnect until `close` or a close code of 44xx. */
  connect() {
    if (this.#state !== "stopped") return;
    const { document } = globalThis;
    this.#watch(globalThis, "online", () => this.hurry());
    this.#watch(globalThis, "offline", () => this.hurry());
    this.#watch(document, "visibilitychange", () => document.hidden || this.hurry());
    this.#ended = this.#failures = this.#notBefore = 0;
    this.#stale = false;
    this.#told = "";
    this.#open();
  }

  /** Disconnect, and reject the pending frames. */
  close() {
    if (this.#state !== "stopped") this.#stop(CLOSE_NORMAL, { message: "closed by the application" });
  }

  /** Reconnect now if the server allows it. Ping if there is a connection. */
  hurry() {
    if (this.#state === "online" && !this.#timers.answer) this.#ping(PROBE_SECONDS);
    if (this.#state !== "waiting" || this.#hurried) return;
    this.#hurried = true;
    const pause = Math.max(0, this.#hurriedAt + HURRY_SECONDS - now());
    this.#hurriedAt = now() + pause;
    this.#retry(this.#options.firstWait, pause);
  }

  /**
   * Send a text, or `{ image_url }`. Resolves with the data of the `ack`, once the message is stored.
   * @type {api.ChatClient["send"]}
   */
  send(groupId, content, options) {
    const image = typeof content === "object";
    /** @type {api.Requests["send_message"]} */
    const data = { group_id: groupId, msg_type: image ? 2 : 1, content: "", image_url: "" };
    return this.request("send_message", Object.assign(data, image ? content : { content }), options);
  }

  /** @type {api.ChatClient["markRead"]} */
  markRead(groupId, messageId, options) {
    return this.request("mark_read", { group_id: groupId, message_id: messageId }, options);
  }

  /**
   * Ask for the messages before an id, newest first.
   * @type {api.ChatClient["history"]}
   */
  history(groupId, { before = "", limit = 50, ...options } = {}) {
    return this.request("history", { group_id: groupId, before_id: before, limit }, options);
  }

  /** @type {api.ChatClient["presence"]} */
  presence(groupId, options) {
    return this.request("presence", { group_id: groupId }, options);
  }

  /**
   * Subscribe to a chat group again. The messages since `leave` follow.
   * @type {api.ChatClient["join"]}
   */
  join(groupId, options) {
    return this.request("join_group", { group_id: groupId }, options);
  }

  /** @type {api.ChatClient["leave"]} */
  leave(groupId, options) {
    return this.request("leave_group", { group_id: groupId }, options);
  }

  /**
   * Tell the group, once or not at all. Sends nothing to a server that doesn't know it.
   * @type {api.ChatClient["typing"]}
   */
  typing(groupId, typing = true) {
    const frame = { type: "typing", message_id: "typing", data: { group_id: groupId, typing } };
    if (this.#state === "online" && this.#types) this.#send(frame);
  }

  /**
   * Send a frame of any type. Resolves with the data of its answer.
   * @type {api.ChatClient["request"]}
   */
  request(type, data, { id = newId(), timestamp = Math.floor(Date.now() / 1000), signal } = {}) {
    return /** @type {Promise<any>} */ (this.resend({ type, message_id: id, timestamp, data }, { signal }));
  }

  /**
   * Send a frame of `pending` or of an error again, unchanged: the server stores it once.
   * @type {api.ChatClient["resend"]}
   */
  async resend(frame, { signal } = {}) {
    if (this.#ended) throw new ClosedError(this.#ended, "the client has ended", { frame });
    return this.#queue.add(frame, signal);
  }

  async #open() {
    const attempt = {};
    this.#attempt = attempt;
    this.#why = null;
    this.#opened = this.#hurried = false;
    this.#become("connecting");
    if (this.#attempt !== attempt) return; // a listener has closed the client
    let token;
    try {
      token = await this.#token();
    } catch (error) {
      if (this.#attempt === attempt)
        this.#fail({ code: CLOSE_LOST, reason: "token", message: `no token: ${words(error)}` });
      return;
    }
    if (this.#attempt !== attempt) return;
    if (!token) return this.#stop(CLOSE_UNAUTHENTICATED, { reason: "missing", message: "there is no token" });
    let socket;
    try {
      socket = new this.#options.WebSocket(this.url);
    } catch (error) {
      const message = `can't open ${this.url}: ${words(error)}`;
      const isFinal = /** @type {Error | null} */ (error)?.name === "SyntaxError"; // the address can't become right
      return this.#fail({ code: CLOSE_LOST, reason: isFinal ? "address" : "socket", message }, isFinal);
    }
    this.#socket = socket;
    socket.onopen = () => {
      this.#opened = true;
      this.#auth({ token, resume: this.#positions.resume() });
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#closed(code);
    this.#later("answer", WELCOME_SECONDS, () => this.#giveUp("the gateway does not answer"));
  }

  async #token(fresh = this.#stale) {
    const { token, tokenTimeout } = this.#options;
    /** @type {Timer | undefined} */
    let timer;
    const late = new Promise((_resolve, reject) => {
      const act = () => reject(new Error(`the token function did not answer within ${tokenTimeout} s`));
      timer = this.#later("token", tokenTimeout, act);
    });
    try {
      const found = await (typeof token === "function" ? Promise.race([token({ fresh }), late]) : token);
      if (found && typeof found !== "string") throw new TypeError(`the token is a ${typeof found}, not a string`);
      return /** @type {string | null | undefined} */ (found);
    } finally {
      if (this.#timers.token === timer) this.#clear("token");
    }
  }

  /** @param {{ token: string, resume?: api.Positions }} data */
  #auth(data) {
    this.#send({ type: "auth", message_id: "auth", data });
  }

  /** @param {object} frame */
  #send(frame) {
    this.#write(JSON.stringify(frame));
  }

  /** @param {string} text */
  #write(text) {
    const socket = this.#socket;
    if (socket?.readyState !== 1) return false;
    socket.send(text);
    return true;
  }

  /** @param {string} text */
  #receive(text) {
    /** @type {api.Frame<Data>} */
    let frame;
    try {
      frame = /** @type {any} */ (parseJson(text));
      frame.data ??= {};
      frame.type.at(0);
    } catch {
      return this.#giveUp("received data that is not a frame; is it a chatws gateway?");
    }
    this.#receivedAt = now();
    if (this.#state === "online") this.#clear("answer");
    const { type, message_id: id, data } = frame;
    if ("offset" in frame) {
      const step = this.#positions.step(/** @type {api.Frame & api.FeedPosition} */ (frame));
      // After a gap the next connection resumes from before it.
      if (step === "gap") this.#giveUp("a gap in a feed");
      else if (step === "next") this.#tell(type, data, frame);
      return;
    }
    if (type === "auth_success") this.#authenticated(frame, data);
    else if (data.epoch) this.#reported(/** @type {api.FeedPosition} */ (data));
    if (type === "auth_failed") this.#why = data;
    if (type === "shutdown") this.#waitFor(data.retry_after);
    const answered = this.#queue.answer(frame);
    if (type === "error") {
      if (!answered) this.#error(data, frame);
    } else if (type !== "new_message" || this.#positions.isNew(id)) this.#tell(type, data, frame);
  }

  /** @param {api.Frame} frame @param {Data} data */
  #authenticated(frame, data) {
    this.#expiresAt = now() + (data.expires_at ?? NaN) - frame.timestamp;
    this.#renew();
    if (this.#state === "online") return;
    this.userId = String(data.user_id);
    this.#stale = false;
    this.#told = "";
    this.#readyAt = now();
    this.#clear("answer");
    this.#beat(Math.max(1, seconds(data.heartbeat_seconds) || HEARTBEAT_SECONDS));
    const attempt = this.#attempt; // a listener may close the client
    this.#become("online");
    if (this.#attempt === attempt) this.#tell("ready", data, frame);
    const feeds = data.feeds ?? [];
    for (const position of feeds) if (this.#attempt === attempt) this.#reported(position);
    if (this.#attempt !== attempt) return;
    this.#positions.prune(feeds);
    this.#queue.pump();
  }

  /** @param {api.FeedPosition} position */
  #reported(position) {
    if (this.#positions.report(position)) this.#tell("lost", position);
  }

  /** @param {Data} data @param {api.Frame} frame */
  #error(data, frame) {
    if (frame.message_id === "typing") {
      this.#types &&= ![400, 501].includes(data.code ?? 0);
      return;
    }
    this.#why = data;
    this.#waitFor(data.retry_after);
    this.#tell("error", data, frame);
  }

  /** @param {unknown} retryAfter */
  #waitFor(retryAfter) {
    this.#notBefore = Math.max(this.#notBefore, now() + seconds(retryAfter));
  }

  /** @param {number} interval in seconds */
  #beat(interval) {
    this.#later("beat", interval, () => {
      if (now() - this.#receivedAt >= interval - 1) this.#ping(ANSWER_SECONDS);
      this.#beat(interval);
    });
  }

  /** @param {number} patience in seconds */
  #ping(patience) {
    this.#send({ type: "ping", message_id: "ping" });
    if (!this.#timers.answer) this.#later("answer", patience, () => this.#giveUp("the gateway does not answer"));
  }

  /** Re-authenticate with a fresh token a minute before the old one expires, or at half of the time that is left. */
  #renew() {
    const left = this.#expiresAt - now();
    if (!(left > 0.5) || typeof this.#options.token !== "function") return;
    this.#later("renew", Math.max(left - RENEW_SECONDS, left / 2), async () => {
      const attempt = this.#attempt;
      const token = await this.#token(true).catch(() => null);
      if (this.#attempt !== attempt) return;
      if (token) this.#auth({ token });
      this.#renew();
    });
  }

  /** @param {string} message */
  #giveUp(message) {
    this.#why ??= { message };
    this.#disconnect(CLOSE_GIVEN_UP);
    this.#closed(CLOSE_LOST);
  }

  /** @param {number} code */
  #closed(code) {
    const wasOnline = this.#state === "online";
    if (wasOnline && now() - this.#readyAt > STEADY_SECONDS) this.#failures = 0;
    this.#disconnect();
    if (code === CLOSE_TOO_BIG) this.#queue.refuseLargest();
    this.#queue.rewind();
    const { message, reason } = this.#why ?? {};
    const needsToken = code === CLOSE_UNAUTHENTICATED && reason !== "timeout";
    const final = code === CLOSE_NORMAL || (code >= 4400 && code < 4500 && code !== CLOSE_UNAUTHENTICATED);
    if (final || (needsToken && (this.#stale || typeof this.#options.token !== "function")))
      return this.#stop(code, { message, reason });
    this.#stale ||= needsToken;
    if (reason === "revoked") this.#waitFor(REVOKED_SECONDS);
    if (wasOnline || code !== CLOSE_LOST || reason) return this.#comeBack({ message, reason, code });
    const why = this.#opened
      ? (message ?? "the connection broke")
      : "no connection; is the address right, and does each proxy pass WebSockets on?";
    this.#fail({ code, reason: "unreachable", message: `${this.url}: ${why}` });
  }

  /**
   * An attempt failed before the server could tell why. Tell it once, until the client was online or it changes.
   * @param {api.ServerError} why
   */
  #fail(why, isFinal = false) {
    const isNews = why.message !== this.#told;
    this.#told = why.message;
    if (isFinal) this.#stop(why.code, why);
    else this.#comeBack(why);
    if (isNews) this.#tell("error", why);
  }

  /** @param {{ code: number, message?: string, reason?: string }} detail */
  #comeBack(detail) {
    this.#attempt = null;
    this.#failures = detail.code === CLOSE_TOO_FAST ? Math.max(this.#failures, 9) : this.#failures + 1;
    this.#state = "waiting";
    this.#retry(this.#window(this.#failures));
    this.#become("waiting", detail); // last: a listener may close the client, or call `hurry`
  }

  /** @param {number} failures */
  #window(failures) {
    return Math.min(this.#options.longestWait, this.#options.firstWait * 2 ** (failures - 1));
  }

  /**
   * Connect after a random time of at most so many seconds ("full jitter"), and not before the server allows it.
   * @param {number} longest
   */
  #retry(longest, pause = 0) {
    const wait = Math.max(0, this.#notBefore - now(), pause) + Math.random() * longest;
    if (this.#timers.retry && this.#retryAt <= now() + wait) return;
    this.#retryAt = now() + wait;
    this.#later("retry", wait, () => this.#open());
  }

  /** @param {number} code @param {{ message?: string, reason?: string }} why */
  #stop(code, { message = `closed with ${code}`, reason }) {
    this.#disconnect(CLOSE_NORMAL);
    for (const end of this.#unwatch.splice(0)) end();
    this.#ended = code;
    this.#queue.end(code, message, reason);
    this.#become("stopped", { code, message, reason });
  }

  /**
   * Forget the socket and all timers. With a code, close the socket.
   * @param {number} [code]
   */
  #disconnect(code) {
    const socket = this.#socket;
    this.#socket = this.#attempt = null;
    for (const name of Object.keys(this.#timers)) this.#clear(name);
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    if (code) socket?.close(code);
  }

  /** @param {EventTarget | undefined} target @param {string} type @param {() => void} act */
  #watch(target, type, act) {
    target?.addEventListener?.(type, act);
    this.#unwatch.push(() => target?.removeEventListener?.(type, act));
  }

  /** @param {string} name */
  #clear(name) {
    clearTimeout(this.#timers[name]);
    delete this.#timers[name];
  }

  /** @param {string} name @param {number} wait in seconds @param {() => void} act */
  #later(name, wait, act) {
    this.#clear(name);
    const timer = setTimeout(() => {
      delete this.#timers[name];
      act();
    }, seconds(wait) * 1000);
    this.#timers[name] = timer;
    return timer;
  }

  /** @param {api.State} state @param {{ code?: number, message?: string, reason?: string }} [more] */
  #become(state, more) {
    this.#state = state;
    this.#tell("state", { state, ...more });
  }

  /** @param {string} type @param {unknown} detail @param {api.Frame} [frame] */
  #tell(type, detail, frame) {
    this.dispatchEvent(new ChatEvent(type, detail, frame));
  }
}

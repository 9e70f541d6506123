// chatws.js: one user's connection to a chatws gateway. It reconnects, resumes its feeds and sends each message once.
// Runs in pages, workers and Node 22. Public types: chatws.d.ts. Protocol: docs/protocol.md. Times are in seconds.

/** @import * as api from "./chatws.js" */
/** @typedef {ReturnType<typeof setTimeout>} Timer */
/** @typedef {Partial<api.FeedPosition & api.ServerError & api.Ack & api.ChatEvents["ready"]>} Data of a server's frame */
/** @typedef {{ frame: api.ClientFrame, sent: boolean, notBefore: number, failures: number } & Settle} Entry */
/** @typedef {{ resolve(data: unknown): void, reject(error: unknown): void }} Settle */

const HEARTBEAT_SECONDS = 25;
const ANSWER_SECONDS = 10;
const PROBE_SECONDS = 4;
const WELCOME_SECONDS = 15;
const STEADY_SECONDS = 10; // a connection that lived longer resets the failures
const RENEW_SECONDS = 60; // how long before its end a token is renewed
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
const MAX_PENDING_FRAMES = 1_000;
const MAX_FRAME_FAILURES = 3; // of a frame that the server answers with 500
const RETRIED_CODES = [429, 500, 503];

const now = () => Date.now() / 1000;

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
export class ChatEvent extends Event {
  /** @param {string} type @param {unknown} detail @param {api.Frame} [frame] */
  constructor(type, detail, frame) {
    super(type);
    Object.assign(this, { detail, frame });
  }
}

/** Return a random id of 128 bits. */
export function newId() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/**
 * For JSON.parse: turn an integer that a double can't hold into a string, if the engine passes the source text.
 * @param {string} _key @param {unknown} value @param {{ source?: string }} [context]
 */
function exact(_key, value, context) {
  const source = context?.source ?? "";
  return typeof value === "number" && !Number.isSafeInteger(value) && /^\d+$/.test(source) ? source : value;
}

/** The client's position in each feed, and the ids of the publications that it has received. */
class Positions {
  /** @type {Map<string, api.Position>} */
  #positions; // by feed; the one that moved last is the last
  /** @type {Set<string>} */
  #ids = new Set(); // oldest first

  /** @param {api.Positions} [positions] */
  constructor(positions = {}) {
    this.#positions = new Map(Object.entries(positions));
  }

  /** @param {string} feed */
  get(feed) {
    return this.#positions.get(feed);
  }

  all() {
    return Object.fromEntries(this.#positions);
  }

  /** Return the `resume` of an `auth` frame; undefined for a client without positions. */
  resume() {
    return this.#positions.size > 0 ? Object.fromEntries([...this.#positions].slice(-MAX_RESUMED_FEEDS)) : undefined;
  }

  /**
   * Take the position that the server reports. Return whether publications between the old position and it are lost.
   * @param {api.FeedPosition} reported
   */
  report({ feed, epoch, offset, recovered }) {
    const before = this.#positions.get(feed);
    if (recovered && before) return false;
    this.#move(feed, epoch, offset);
    return recovered === false || Boolean(before && (before.epoch !== epoch || before.offset !== offset));
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

/** The frames that have no answer yet. Each is sent, and sent again unchanged on the next connection. */
class Queue {
  /** @type {Entry[]} */
  #entries = []; // in order
  #write;
  #wait;
  /** @type {Timer | undefined} */
  #timer;

  /**
   * @param {(frame: api.ClientFrame) => boolean} write sends a frame; returns false without a connection
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
    signal?.throwIfAborted();
    if (this.#entries.length >= MAX_PENDING_FRAMES) throw new RefusedError(429, "too many frames wait", { frame });
    const entry = /** @type {Entry} */ ({ frame, sent: false, notBefore: 0, failures: 0 });
    const answer = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    const abort = () => this.#settle(entry, "reject", signal?.reason);
    signal?.addEventListener("abort", abort);
    this.#entries.push(entry);
    this.pump();
    return answer.finally(() => signal?.removeEventListener("abort", abort));
  }

  /**
   * Take a frame of the server. Return whether it answers one of these.
   * @param {api.Frame<Data>} frame
   */
  answer({ type, message_id: id, data = {} }) {
    const entry = this.#entries.find(({ sent, frame }) => sent && frame.message_id === id);
    if (!entry) return false;
    const { code = 0 } = data;
    if (data.success === false) this.#refuse(entry, { code: 500, message: "not stored" });
    else if (type !== "error") this.#settle(entry, "resolve", data);
    else if (RETRIED_CODES.includes(code) && (code !== 500 || entry.failures < MAX_FRAME_FAILURES - 1)) {
      entry.sent = false;
      entry.notBefore = now() + (data.retry_after ?? 0) + Math.random() * this.#wait(++entry.failures);
      this.pump();
    } else if (code !== 401) this.#refuse(entry, data); // after a 401 the server closes, and the client reconnects
    return true;
  }

  /** Send what waits; of the messages to one chat group only the first, so that they are stored in order. */
  pump() {
    const busy = new Set();
    let next = Infinity;
    for (const entry of this.#entries) {
      const { type, data } = entry.frame;
      const lane = type === "send_message" && data.group_id;
      if (lane && busy.has(lane)) continue;
      busy.add(lane);
      if (entry.notBefore > now()) next = Math.min(next, entry.notBefore);
      else entry.sent ||= this.#write(entry.frame);
    }
    clearTimeout(this.#timer);
    if (next < Infinity) this.#timer = setTimeout(() => this.pump(), (next - now()) * 1000);
  }

  /** Mark all frames unsent, as the connection is lost. */
  rewind() {
    for (const entry of this.#entries) entry.sent = false;
  }

  /** Refuse the largest frame that was sent: the server closed because one was too big. */
  refuseLargest() {
    const size = (/** @type {Entry} */ { frame }) => JSON.stringify(frame).length;
    const [largest] = this.#entries.filter(({ sent }) => sent).sort((one, other) => size(other) - size(one));
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
export class ChatClient extends EventTarget {
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
    (frame) => this.#state === "online" && this.#write(frame),
    (failures) => this.#window(failures),
  );
  /** @type {Record<string, Timer>} */
  #timers = {};
  #listening = new AbortController();
  #failures = 0;
  #notBefore = 0; // the server's retry_after, as a time
  #stale = false; // the token was refused: the next one has to be fresh
  /** @type {Data | null} */
  #why = null; // data of the last auth_failed, or of the last error that answered no frame
  #readyAt = 0;
  #receivedAt = 0;
  #expiresAt = 0; // by the client's own clock
  #types = true; // until the server answers that it doesn't know typing

  /** @param {string | URL} url @param {api.ChatOptions} options */
  constructor(url, options) {
    super();
    const address = new URL(url, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.url = address.href;
    /** @type {string | null} */
    this.userId = null;
    this.#options = { firstWait: 0.5, longestWait: 30, WebSocket: globalThis.WebSocket, ...options };
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
    this.#listening = new AbortController();
    const { document } = globalThis;
    for (const type of ["online", "offline"]) globalThis.addEventListener?.(type, () => this.hurry(), this.#listening);
    document?.addEventListener("visibilitychange", () => document.hidden || this.hurry(), this.#listening);
    this.#ended = this.#failures = this.#notBefore = 0;
    this.#stale = false;
    this.#open();
  }

  /** Disconnect, and reject the pending frames. */
  close() {
    if (this.#state !== "stopped") this.#stop(CLOSE_NORMAL, { message: "closed by the application" });
  }

  /** Reconnect now if the server allows it. Ping if there is a connection. */
  hurry() {
    if (this.#state === "waiting") this.#retry(this.#options.firstWait);
    if (this.#state === "online") this.#ping(PROBE_SECONDS);
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
    const resume = this.#positions.get(`group:${groupId}`);
    return this.request("join_group", { group_id: groupId, resume }, options);
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
    if (this.#state === "online" && this.#types) this.#write(frame);
  }

  /**
   * Send a frame of any type. Resolves with the data of its answer.
   * @type {api.ChatClient["request"]}
   */
  request(type, data, { id = newId(), timestamp = Math.floor(now()), signal } = {}) {
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
    this.#become("connecting");
    this.#why = null;
    let token;
    try {
      token = await this.#token();
    } catch (error) {
      const message = `no token: ${/** @type {Error | null} */ (error)?.message ?? error}`;
      if (this.#attempt === attempt) this.#comeBack({ code: CLOSE_LOST, message });
      return;
    }
    if (this.#attempt !== attempt) return;
    if (!token) return this.#stop(CLOSE_UNAUTHENTICATED, { reason: "missing", message: "there is no token" });
    const socket = new this.#options.WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => this.#auth({ token, resume: this.#positions.resume() });
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#closed(code);
    this.#later("answer", WELCOME_SECONDS, () => this.#giveUp());
  }

  async #token(fresh = this.#stale) {
    const { token } = this.#options;
    return typeof token === "function" ? token({ fresh }) : token;
  }

  /** @param {{ token: string, resume?: api.Positions }} data */
  #auth(data) {
    this.#write({ type: "auth", message_id: "auth", data });
  }

  /** @param {object} frame */
  #write(frame) {
    const socket = this.#socket;
    if (socket?.readyState !== 1) return false;
    socket.send(JSON.stringify(frame));
    return true;
  }

  /** @param {string} text */
  #receive(text) {
    /** @type {api.Frame<Data>} */
    let frame;
    try {
      frame = JSON.parse(text, /\d{16}/.test(text) ? exact : undefined);
    } catch {
      return this.#giveUp();
    }
    this.#receivedAt = now();
    if (this.#state === "online") this.#clear("answer");
    const { type, message_id: id, data = {} } = frame;
    if ("offset" in frame) {
      const step = this.#positions.step(/** @type {api.Frame & api.FeedPosition} */ (frame));
      // After a gap the next connection resumes from before it.
      if (step === "gap") this.#giveUp();
      else if (step === "next") this.#tell(type, data, frame);
      return;
    }
    if (type === "auth_success") this.#authenticated(frame, data);
    else if (data.epoch) this.#reported(/** @type {api.FeedPosition} */ (data));
    if (type === "auth_failed") this.#why = data;
    if (type === "shutdown") this.#notBefore = now() + (data.retry_after ?? 0);
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
    this.#readyAt = now();
    this.#clear("answer");
    this.#become("online");
    this.#tell("ready", data, frame);
    for (const position of data.feeds ?? []) this.#reported(position);
    this.#beat(data.heartbeat_seconds ?? HEARTBEAT_SECONDS);
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
    if (data.retry_after) this.#notBefore = now() + data.retry_after;
    this.#tell("error", data, frame);
  }

  /** @param {number} seconds */
  #beat(seconds) {
    this.#later("beat", seconds, () => {
      if (now() - this.#receivedAt >= seconds - 1) this.#ping(ANSWER_SECONDS);
      this.#beat(seconds);
    });
  }

  /** @param {number} seconds */
  #ping(seconds) {
    this.#write({ type: "ping", message_id: "ping" });
    if (!this.#timers.answer) this.#later("answer", seconds, () => this.#giveUp());
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

  #giveUp() {
    this.#disconnect(CLOSE_GIVEN_UP);
    this.#closed(CLOSE_LOST);
  }

  /** @param {number} code */
  #closed(code) {
    if (this.#state === "online" && now() - this.#readyAt > STEADY_SECONDS) this.#failures = 0;
    this.#disconnect();
    if (code === CLOSE_TOO_BIG) this.#queue.refuseLargest();
    this.#queue.rewind();
    const why = this.#why ?? {};
    const needsToken = code === CLOSE_UNAUTHENTICATED && why.reason !== "timeout";
    const final = code === CLOSE_NORMAL || (code >= 4400 && code < 4500 && code !== CLOSE_UNAUTHENTICATED);
    if (final || (needsToken && (this.#stale || typeof this.#options.token !== "function"))) this.#stop(code, why);
    else {
      this.#stale ||= needsToken;
      if (why.reason === "revoked") this.#notBefore = now() + REVOKED_SECONDS;
      this.#comeBack({ message: why.message, reason: why.reason, code });
    }
  }

  /** @param {{ code: number, message?: string, reason?: string }} detail */
  #comeBack(detail) {
    this.#failures = detail.code === CLOSE_TOO_FAST ? Math.max(this.#failures, 9) : this.#failures + 1;
    this.#become("waiting", detail);
    this.#retry(this.#window(this.#failures));
  }

  /** @param {number} failures */
  #window(failures) {
    return Math.min(this.#options.longestWait, this.#options.firstWait * 2 ** (failures - 1));
  }

  /**
   * Connect after a random time of at most so many seconds ("full jitter"), and not before the server allows it.
   * @param {number} longest
   */
  #retry(longest) {
    this.#later("retry", Math.max(0, this.#notBefore - now()) + Math.random() * longest, () => this.#open());
  }

  /** @param {number} code @param {{ message?: string, reason?: string }} why */
  #stop(code, { message = `closed with ${code}`, reason }) {
    this.#disconnect(CLOSE_NORMAL);
    this.#listening.abort();
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

  /** @param {string} name */
  #clear(name) {
    clearTimeout(this.#timers[name]);
    delete this.#timers[name];
  }

  /** @param {string} name @param {number} seconds @param {() => void} act */
  #later(name, seconds, act) {
    this.#clear(name);
    this.#timers[name] = setTimeout(act, Math.min(seconds, MAX_TIMER_SECONDS) * 1000);
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

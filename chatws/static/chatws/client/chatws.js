// chatws.js: one user's connection to a chatws gateway. It comes back, resumes and sends again unchanged.
// For pages, workers and Node 22. Options, events and errors: chatws.d.ts; protocol: docs/protocol.md. Times: seconds.

const HEARTBEAT = 25;
const ANSWER = 10;
const PROBE = 4;
const WELCOME = 15;
const STEADY = 10;
const DAY = 86_400;
const REVOKED = 2; // a fresh token of the same second is revoked too
const NORMAL = 1000;
const LOST = 1006;
const TOO_BIG = 1009;
const GIVEN_UP = 4000; // ours, for a connection that is silent or makes no sense
const UNAUTHENTICATED = 4401;
const TOO_FAST = 4529;
const KNOWN_IDS = 10_000;
const RESUMED_FEEDS = 400; // as many as one auth takes
const MOST_PENDING = 1_000;
const MOST_FAILURES = 3; // of a frame that the server answers with 500
const TRY_AGAIN = [429, 500, 503];

const now = () => Date.now() / 1000;

/** What the client rejects with. */
export class ChatError extends Error {
  constructor(code, message, more) {
    super(message);
    Object.assign(this, more, { name: new.target.name, code });
  }
}

/** The server won't take `frame`; `code` as in HTTP, with a `reason` where there is one. */
export class RefusedError extends ChatError {}

/** The client ended (`code`: the close code) before `frame` had an answer; it may be sent again. */
export class ClosedError extends ChatError {}

/** What listeners get: the data as `detail`, and the `frame` that brought it. */
export class ChatEvent extends Event {
  constructor(type, detail, frame) {
    super(type);
    Object.assign(this, { detail, frame });
  }
}

/** An id that no other frame has. */
export function newId() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/** For JSON.parse: an integer that a double can't hold becomes a string, where its source is shown. */
function exact(_key, value, context) {
  const lossy = typeof value === "number" && !Number.isSafeInteger(value) && /^\d+$/.test(context?.source);
  return lossy ? context.source : value;
}

/** Where a client stands in each feed, and which publications it has had. */
class Places {
  #places; // feed → {epoch, offset}; what moved last stands last
  #ids = new Set(); // oldest first

  constructor(places = {}) {
    this.#places = new Map(Object.entries(places));
  }

  get(feed) {
    return this.#places.get(feed);
  }

  all() {
    return Object.fromEntries(this.#places);
  }

  /** What `auth` carries as `resume`; undefined for a client that has heard nothing. */
  resume() {
    return this.#places.size > 0 ? Object.fromEntries([...this.#places].slice(-RESUMED_FEEDS)) : undefined;
  }

  /** The server says where a feed stands. Whether something between there and us is lost: it doesn't follow. */
  told({ feed, epoch, offset, recovered }) {
    const before = this.#places.get(feed);
    if (recovered && before) return false;
    this.#move(feed, epoch, offset);
    return recovered === false || Boolean(before && (before.epoch !== epoch || before.offset !== offset));
  }

  /** Take a publication: "next", "known" (nothing to show), or "gap" (something is missing before it). */
  step({ type, message_id: id, feed, epoch, offset }) {
    const place = this.#places.get(feed);
    if (place?.epoch !== epoch || offset > place.offset + 1) return "gap";
    if (offset <= place.offset) return "known";
    this.#move(feed, epoch, offset);
    return !["new_message", "notification"].includes(type) || this.isNew(id) ? "next" : "known";
  }

  isNew(id) {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > KNOWN_IDS) this.#ids.delete(this.#ids.values().next().value);
    return true;
  }

  #move(feed, epoch, offset) {
    this.#places.delete(feed);
    this.#places.set(feed, { epoch, offset });
  }
}

/** Frames without an answer: written, and again, unchanged, on the next connection. */
class Queue {
  #entries = []; // {frame, resolve, reject, sent, notBefore, failures}, in order
  #write;
  #wait;
  #timer;

  /** `write` sends a frame and says whether there is a connection; `wait`: seconds after so many failures. */
  constructor(write, wait) {
    this.#write = write;
    this.#wait = wait;
  }

  get frames() {
    return this.#entries.map(({ frame }) => frame);
  }

  async add(frame, signal) {
    signal?.throwIfAborted();
    if (this.#entries.length >= MOST_PENDING) throw new RefusedError(429, "too many frames wait", { frame });
    const entry = { frame, sent: false, notBefore: 0, failures: 0 };
    const answer = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    const abort = () => this.#settle(entry, "reject", signal.reason);
    signal?.addEventListener("abort", abort);
    this.#entries.push(entry);
    this.pump();
    return answer.finally(() => signal?.removeEventListener("abort", abort));
  }

  /** The server said something; whether it was the answer to one of ours. */
  answer({ type, message_id: id, data = {} }) {
    const entry = this.#entries.find(({ sent, frame }) => sent && frame.message_id === id);
    if (!entry) return false;
    if (data.success === false) this.#refuse(entry, { code: 500, message: "not stored" });
    else if (type !== "error") this.#settle(entry, "resolve", data);
    else if (TRY_AGAIN.includes(data.code) && (data.code !== 500 || entry.failures < MOST_FAILURES - 1)) {
      entry.sent = false;
      entry.notBefore = now() + (data.retry_after ?? 0) + Math.random() * this.#wait(++entry.failures);
      this.pump();
    } else if (data.code !== 401) this.#refuse(entry, data); // after a 401 the connection ends, and another comes
    return true;
  }

  /** Write what waits; of the messages to a chat group only the first, so that they are stored in order. */
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

  /** The connection is gone: what had no answer is sent again. */
  rewind() {
    for (const entry of this.#entries) entry.sent = false;
  }

  /** A frame was too big: it must not be sent again. */
  refuseLargest() {
    const size = ({ frame }) => JSON.stringify(frame).length;
    const [largest] = this.#entries.filter(({ sent }) => sent).sort((one, other) => size(other) - size(one));
    if (largest) this.#refuse(largest, { code: 413, message: "the frame is too big" });
  }

  end(code, message, reason) {
    clearTimeout(this.#timer);
    for (const { frame, reject } of this.#entries.splice(0)) reject(new ClosedError(code, message, { reason, frame }));
  }

  #refuse(entry, { code, message, reason, retry_after }) {
    this.#settle(entry, "reject", new RefusedError(code, message, { reason, retry_after, frame: entry.frame }));
  }

  #settle(entry, how, value) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    entry[how](value);
    this.pump();
  }
}

/** The client. */
export class ChatClient extends EventTarget {
  #options;
  #state = "stopped";
  #ended = 0; // the close code, once the client has ended
  #attempt = null; // which of several ways to a connection still counts
  #socket = null;
  #places;
  #queue = new Queue(
    (frame) => this.#state === "online" && this.#write(frame),
    (failures) => this.#window(failures),
  );
  #timers = {};
  #listening = null;
  #failures = 0;
  #notBefore = 0; // the server's retry_after, as a time
  #stale = false; // the token was refused: the next has to be fresh
  #why = null; // data of the last error or auth_failed that answered no frame of ours
  #readyAt = 0;
  #heardAt = 0;
  #expiresAt = 0; // by our own clock
  #types = true; // until the server says that it doesn't know typing

  constructor(url, options) {
    super();
    const address = new URL(url, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.url = address.href;
    this.userId = null;
    this.#options = { firstWait: 0.5, longestWait: 30, WebSocket: globalThis.WebSocket, ...options };
    this.#places = new Places(this.#options.places);
  }

  /** "stopped", "connecting", "online" or "waiting". */
  get state() {
    return this.#state;
  }

  /** Where this client stands in each feed; as option `places`, where another one begins. */
  get places() {
    return this.#places.all();
  }

  /** Frames without an answer, in order. */
  get pending() {
    return this.#queue.frames;
  }

  /** Listen to an event; returns what ends that. */
  listen(type, listener) {
    const heard = (event) => listener(event.detail, event);
    this.addEventListener(type, heard);
    return () => this.removeEventListener(type, heard);
  }

  /** Connect, and stay connected until `close` or a close code of 44xx. */
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

  /** End; what is pending is rejected. */
  close() {
    if (this.#state !== "stopped") this.#stop(NORMAL, { message: "closed by the application" });
  }

  /** Come back now if the server allows it, or see whether the connection lives. */
  hurry() {
    if (this.#state === "waiting") this.#retry(this.#options.firstWait);
    if (this.#state === "online") this.#ask(PROBE);
  }

  /** Send a text, or `{ image_url }`. Settles with the `ack`'s data once it is stored. */
  send(groupId, content, options) {
    const image = typeof content === "object";
    const data = { group_id: groupId, msg_type: image ? 2 : 1, content: "", image_url: "" };
    return this.request("send_message", Object.assign(data, image ? content : { content }), options);
  }

  markRead(groupId, messageId, options) {
    return this.request("mark_read", { group_id: groupId, message_id: messageId }, options);
  }

  /** Messages before an id, newest first: `{ messages, has_more }`. */
  history(groupId, { before = "", limit = 50, ...options } = {}) {
    return this.request("history", { group_id: groupId, before_id: before, limit }, options);
  }

  presence(groupId, options) {
    return this.request("presence", { group_id: groupId }, options);
  }

  /** Hear a chat group again; what was said meanwhile follows. */
  join(groupId, options) {
    const resume = this.#places.get(`group:${groupId}`);
    return this.request("join_group", { group_id: groupId, resume }, options);
  }

  leave(groupId, options) {
    return this.request("leave_group", { group_id: groupId }, options);
  }

  /** Never kept, and nothing where the server doesn't know it. */
  typing(groupId, typing = true) {
    const frame = { type: "typing", message_id: "typing", data: { group_id: groupId, typing } };
    if (this.#state === "online" && this.#types) this.#write(frame);
  }

  /** Ask for anything; settles with the answer's data. */
  request(type, data, { id = newId(), timestamp = Math.floor(now()), signal } = {}) {
    return this.resend({ type, message_id: id, timestamp, data }, { signal });
  }

  /** Send a frame of `pending` or of an error again, unchanged: the server knows it and stores it once. */
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
      if (this.#attempt === attempt) this.#comeBack({ code: LOST, message: `no token: ${error?.message ?? error}` });
      return;
    }
    if (this.#attempt !== attempt) return;
    if (!token) return this.#stop(UNAUTHENTICATED, { reason: "missing", message: "there is no token" });
    const socket = new this.#options.WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => this.#auth({ token, resume: this.#places.resume() });
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#closed(code);
    this.#later("answer", WELCOME, () => this.#giveUp());
  }

  async #token(fresh = this.#stale) {
    const { token } = this.#options;
    return typeof token === "function" ? token({ fresh }) : token;
  }

  #auth(data) {
    this.#write({ type: "auth", message_id: "auth", data });
  }

  #write(frame) {
    const open = this.#socket?.readyState === 1;
    if (open) this.#socket.send(JSON.stringify(frame));
    return open;
  }

  #receive(text) {
    let frame;
    try {
      frame = JSON.parse(text, /\d{16}/.test(text) ? exact : undefined);
    } catch {
      return this.#giveUp();
    }
    this.#heardAt = now();
    if (this.#state === "online") this.#clear("answer");
    const { type, message_id: id, data = {} } = frame;
    if ("offset" in frame) {
      const step = this.#places.step(frame);
      // After a gap the next connection resumes from where we stand.
      if (step === "gap") this.#giveUp();
      else if (step === "next") this.#tell(type, data, frame);
      return;
    }
    if (type === "auth_success") this.#authenticated(frame, data);
    else if (data.epoch) this.#told(data);
    if (type === "auth_failed") this.#why = data;
    if (type === "shutdown") this.#notBefore = now() + data.retry_after;
    const answered = this.#queue.answer(frame);
    if (type === "error") {
      if (!answered) this.#error(data, frame);
    } else if (type !== "new_message" || this.#places.isNew(id)) this.#tell(type, data, frame);
  }

  #authenticated(frame, data) {
    this.#expiresAt = now() + data.expires_at - frame.timestamp;
    this.#renew();
    if (this.#state === "online") return;
    this.userId = String(data.user_id);
    this.#stale = false;
    this.#readyAt = now();
    this.#clear("answer");
    this.#become("online");
    this.#tell("ready", data, frame);
    for (const place of data.feeds ?? []) this.#told(place);
    this.#beat(data.heartbeat_seconds ?? HEARTBEAT);
    this.#queue.pump();
  }

  #told(place) {
    if (this.#places.told(place)) this.#tell("lost", place);
  }

  #error(data, frame) {
    if (frame.message_id === "typing") {
      this.#types &&= ![400, 501].includes(data.code);
      return;
    }
    this.#why = data;
    if (data.retry_after) this.#notBefore = now() + data.retry_after;
    this.#tell("error", data, frame);
  }

  #beat(seconds) {
    this.#later("beat", seconds, () => {
      if (now() - this.#heardAt >= seconds - 1) this.#ask(ANSWER);
      this.#beat(seconds);
    });
  }

  #ask(seconds) {
    this.#write({ type: "ping", message_id: "ping" });
    if (!this.#timers.answer) this.#later("answer", seconds, () => this.#giveUp());
  }

  /** Bring a fresh token a minute before the old one ends, or at half of what is left, and again. */
  #renew() {
    const left = this.#expiresAt - now();
    if (!(left > 0.5) || typeof this.#options.token !== "function") return;
    this.#later("renew", Math.max(left - 60, left / 2), async () => {
      const attempt = this.#attempt;
      const token = await this.#token(true).catch(() => null);
      if (this.#attempt !== attempt) return;
      if (token) this.#auth({ token });
      this.#renew();
    });
  }

  #giveUp() {
    this.#letGo(GIVEN_UP);
    this.#closed(LOST);
  }

  #closed(code) {
    if (this.#state === "online" && now() - this.#readyAt > STEADY) this.#failures = 0;
    this.#letGo();
    if (code === TOO_BIG) this.#queue.refuseLargest();
    this.#queue.rewind();
    const why = this.#why ?? {};
    const needsToken = code === UNAUTHENTICATED && why.reason !== "timeout";
    const final = code === NORMAL || (code >= 4400 && code < 4500 && code !== UNAUTHENTICATED);
    if (final || (needsToken && (this.#stale || typeof this.#options.token !== "function"))) this.#stop(code, why);
    else {
      this.#stale ||= needsToken;
      if (why.reason === "revoked") this.#notBefore = now() + REVOKED;
      this.#comeBack({ message: why.message, reason: why.reason, code });
    }
  }

  #comeBack(detail) {
    this.#failures = detail.code === TOO_FAST ? Math.max(this.#failures, 9) : this.#failures + 1;
    this.#become("waiting", detail);
    this.#retry(this.#window(this.#failures));
  }

  #window(failures) {
    return Math.min(this.#options.longestWait, this.#options.firstWait * 2 ** (failures - 1));
  }

  /** Full jitter, after what the server asked for. */
  #retry(longest) {
    this.#later("retry", Math.max(0, this.#notBefore - now()) + Math.random() * longest, () => this.#open());
  }

  #stop(code, { message = `closed with ${code}`, reason }) {
    this.#letGo(NORMAL);
    this.#listening.abort();
    this.#ended = code;
    this.#queue.end(code, message, reason);
    this.#become("stopped", { code, message, reason });
  }

  #letGo(code) {
    const socket = this.#socket;
    this.#socket = this.#attempt = null;
    for (const name of Object.keys(this.#timers)) this.#clear(name);
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    if (code) socket?.close(code);
  }

  #clear(name) {
    clearTimeout(this.#timers[name]);
    delete this.#timers[name];
  }

  #later(name, seconds, act) {
    this.#clear(name);
    this.#timers[name] = setTimeout(act, Math.min(seconds, DAY) * 1000);
  }

  #become(state, more) {
    this.#state = state;
    this.#tell("state", { state, ...more });
  }

  #tell(type, detail, frame) {
    this.dispatchEvent(new ChatEvent(type, detail, frame));
  }
}

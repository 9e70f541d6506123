// The WebSocket side of the page: authenticates, stays connected, sends again what was not acknowledged.
// Knows frames and close codes (docs/protocol.md) and nothing of the page.

const HEARTBEAT_SECONDS = 25;
const ANSWER_SECONDS = 10;
const LONGEST_WAIT = 30;
const UNAUTHENTICATED = 4401;
const NEEDS_A_CHANGE = (code) => code >= 4400 && code < 4500;

/** Emits `state` (connecting, online, offline, refused), `ready`, `frame`, `sent`, `failed` as CustomEvents. */
export class ChatClient extends EventTarget {
  /**
   * @param {string} url of the socket
   * @param {(fresh: boolean) => Promise<string>} getToken an access token; `fresh`: not the one that was refused
   */
  constructor(url, getToken) {
    super();
    this.url = url;
    this.getToken = getToken;
    this.socket = null;
    this.userId = null;
    this.waiting = new Map(); // frames without an answer, by message id
    this.counter = 0;
    this.failures = 0;
    this.stopped = true;
    this.needsFreshToken = false;
    this.retryAfter = 0;
  }

  start() {
    this.stopped = false;
    this.#connect();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    clearInterval(this.heartbeat);
    clearTimeout(this.refresh);
    this.socket?.close(1000);
    this.socket = null;
    this.waiting.clear();
  }

  /** Send a message; the id under which `sent` or `failed` tells how it went. */
  sendMessage(groupId, content) {
    const id = `${Date.now().toString(36)}-${(this.counter += 1)}-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    this.#keep(id, {
      type: "send_message",
      message_id: id,
      timestamp: Math.floor(Date.now() / 1000),
      data: { group_id: groupId, msg_type: 1, content, image_url: "" },
    });
    return id;
  }

  /** Send a failed frame again, unchanged: the server knows it by its id and time. */
  sendAgain(id, frame) {
    this.#keep(id, frame);
  }

  #keep(id, frame) {
    this.waiting.set(id, frame);
    if (this.online) this.#write(frame);
  }

  #write(frame) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  async #connect() {
    if (this.stopped) return;
    this.#tell("state", "connecting");
    let token;
    try {
      token = await this.getToken(this.needsFreshToken);
    } catch (error) {
      if (error.final) this.#refuse(UNAUTHENTICATED, error.message);
      else this.#comeBack();
      return;
    }
    if (this.stopped) return;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => this.#write({ type: "auth", message_id: "auth", data: { token } });
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => {
      if (this.socket === socket) this.#closed(event.code);
    };
  }

  #receive(frame) {
    this.heardAt = Date.now();
    const { type, data, message_id: id } = frame;
    if (type === "auth_success" && id === "auth") this.#welcome(data);
    else if (type === "auth_failed") this.failure = data;
    else if (type === "shutdown") this.retryAfter = data.retry_after;
    else if (type === "ack" && this.waiting.has(id)) {
      this.waiting.delete(id);
      this.#tell("sent", { id, messageId: data.message_id });
    } else if (type === "error") this.#error(id, data);
    else this.#tell("frame", frame);
  }

  #error(id, data) {
    if (data.retry_after) this.retryAfter = data.retry_after;
    const frame = this.waiting.get(id);
    if (frame) {
      this.waiting.delete(id);
      this.#tell("failed", { id, frame, message: data.message });
    } else if (!data.reason) {
      this.#tell("frame", { type: "error", data });
    }
    this.failure = data;
  }

  #welcome(data) {
    this.online = true;
    this.userId = data.user_id;
    this.failures = 0;
    this.needsFreshToken = false;
    this.failure = null;
    this.#tell("state", "online");
    this.#tell("ready", data);
    for (const frame of this.waiting.values()) this.#write(frame);
    clearInterval(this.heartbeat);
    const seconds = data.heartbeat_seconds ?? HEARTBEAT_SECONDS;
    this.heartbeat = setInterval(() => this.#beat(seconds), seconds * 1000);
    this.#refreshBefore(data.expires_at);
  }

  #beat(seconds) {
    if (Date.now() - this.heardAt > (seconds + ANSWER_SECONDS) * 1000) {
      const silent = this.socket;
      this.#closed(1006);
      silent.close();
      return;
    }
    this.#write({ type: "ping", message_id: "ping" });
  }

  /** A live socket ends with its token: send a fresh one a minute before (or at half of a short life). */
  #refreshBefore(expiresAt) {
    clearTimeout(this.refresh);
    if (!expiresAt) return;
    const left = expiresAt - Date.now() / 1000;
    const wait = Math.max(left - 60, left / 2, 1);
    this.refresh = setTimeout(async () => {
      try {
        const token = await this.getToken(true);
        this.#write({ type: "auth", message_id: "refresh", data: { token } });
      } catch {
        return; // the server says so when the old one expires
      }
    }, Math.min(wait, 86_400) * 1000);
  }

  #closed(code) {
    this.online = false;
    this.socket = null;
    clearInterval(this.heartbeat);
    clearTimeout(this.refresh);
    if (this.stopped) return;
    if (code === UNAUTHENTICATED && !this.needsFreshToken) {
      this.needsFreshToken = true;
      this.#connect();
    } else if (NEEDS_A_CHANGE(code)) {
      this.#refuse(code, this.failure?.message ?? `closed with ${code}`);
    } else {
      this.#comeBack();
    }
  }

  #refuse(code, message) {
    this.stopped = true;
    this.#tell("state", "refused");
    this.#tell("refused", { code, message });
  }

  #comeBack() {
    this.#tell("state", "offline");
    this.failures += 1;
    const longest = Math.min(2 ** (this.failures - 1), LONGEST_WAIT);
    const wait = this.retryAfter + longest * (0.5 + Math.random() / 2);
    this.retryAfter = 0;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#connect(), wait * 1000);
  }

  /** The network is back, or the page is looked at again: don't wait any longer. */
  hurry() {
    if (this.stopped || this.socket) return;
    clearTimeout(this.timer);
    this.#connect();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

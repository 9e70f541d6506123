// One chat group in this window: its messages in the server's order, and the messages that were written here and wait.

import { clamped } from "./i18n.js";

/** @import { ClientFrame, Message as MessageData } from "../client/chatws.js" */

/**
 * A message on the page.
 * @typedef {object} Message
 * @property {string} key of its row; stays the same once the message is stored
 * @property {string | null} id of the server; null until the message is stored
 * @property {string} sender the user's id
 * @property {string} [name] of the sender
 * @property {string} [avatar] URL
 * @property {1 | 2} type 1 text, 2 image
 * @property {string} text
 * @property {string} image URL
 * @property {number} at Unix seconds
 * @property {"sending" | "sent" | "failed"} state
 * @property {boolean} [recalled]
 * @property {number} [n] its place in the room; rises by one
 * @property {ClientFrame} [frame] of a message that was written here
 * @property {string} [why] why it failed, in words
 * @property {boolean} [closed] it failed as the client ended
 */

/** @typedef {Message & { id: string }} Stored a message of the server */
/** @typedef {Message & { frame: ClientFrame }} Written a message that was written here */

/** @param {unknown} value */
const text = (value) => (typeof value === "string" ? value : "");

/**
 * Return whether the page can show this as a message: it names itself and its group. All else may be missing.
 * @param {Partial<MessageData> | null | undefined} data
 */
export function isMessage(data) {
  return Boolean(text(data?.message_id) && text(data?.group_id));
}

/**
 * Make a message of the server's data, live or from the history. A value of the wrong type counts as missing, so that
 * one bad message hides no other.
 * @param {MessageData} data
 * @returns {Stored}
 */
export function received(data) {
  return {
    key: data.message_id,
    id: data.message_id,
    sender: String(data.sender ?? data.sender_id ?? ""),
    name: text(data.sender_name),
    avatar: text(data.sender_avatar),
    type: data.msg_type === 2 ? 2 : 1,
    text: text(data.content),
    image: text(data.image_url),
    at: clamped(data.created_at),
    recalled: data.status === 2,
    state: "sent",
  };
}

/**
 * Make a message of a frame that was written here.
 * @param {ClientFrame} frame @param {string} sender
 * @returns {Written}
 */
export function written(frame, sender) {
  const { msg_type: type, content: text, image_url: image } = /** @type {any} */ (frame.data);
  return { key: frame.message_id, id: null, sender, type, text, image, at: frame.timestamp, state: "sending", frame };
}

export class Room {
  /** @type {Stored[]} */
  messages = []; // oldest first
  /** @type {Written[]} */
  pending = []; // not yet received by the group's feed
  loaded = false; // the newest page is loaded
  hasMore = true; // there may be messages before the first
  /** @type {string | null} */
  newFrom = null; // id of the first message that was unread when the group was opened
  /** @type {Map<string, string>} */
  readBy = new Map(); // user → id of the last message read
  draft = "";
  /** @type {Map<string, Stored>} */
  #byId = new Map();

  /** @param {string} id */
  constructor(id) {
    this.id = id;
  }

  /** @returns {Message[]} */
  get all() {
    return [...this.messages, ...this.pending];
  }

  get ids() {
    return new Set(this.#byId.keys());
  }

  /** @param {string} id */
  get(id) {
    return this.#byId.get(id);
  }

  /**
   * Add a message of the live feed. Return whether it is new.
   * @param {Stored} message
   */
  append(message) {
    if (this.#byId.has(message.id)) return false;
    const [first] = this.pending;
    const same = (/** @type {Written} */ mine) =>
      mine.id === message.id || (mine === first && !mine.id && isTwin(mine, message));
    const mine = this.pending.find(same);
    if (mine) {
      this.pending = this.pending.filter((other) => other !== mine);
      message.key = mine.key;
    }
    this.#add(message);
    return true;
  }

  /**
   * The chat service has stored a message that was written here. The feed or the history brings its place.
   * @param {string} key @param {string} id
   */
  acknowledge(key, id) {
    const mine = this.pending.find((message) => message.key === key);
    if (!mine) return;
    if (!this.loaded || this.#byId.has(id)) this.remove(key);
    else Object.assign(mine, { id, state: "sent" });
  }

  /** @param {string} key */
  remove(key) {
    this.pending = this.pending.filter((message) => message.key !== key);
  }

  /**
   * Return the newest message of another user.
   * @param {string | null | undefined} self
   */
  newestOfOthers(self) {
    return this.messages.findLast(({ sender }) => sender !== self);
  }

  /**
   * Add older messages, newest first. Return how many were new.
   * @param {Stored[]} page @param {boolean} hasMore
   */
  prepend(page, hasMore) {
    const older = page.filter(({ id }) => !this.#byId.has(id)).reverse();
    this.hasMore = hasMore && older.length > 0;
    this.#replace([...older, ...this.messages]);
    return older.length;
  }

  /**
   * Take a page of the newest messages, newest first. Live messages that arrived since the request stay behind them.
   * Older messages stay if the page reaches them; else there is a gap between, and they are dropped.
   * @param {Stored[]} page @param {boolean} hasMore @param {Set<string>} known the ids at the time of the request
   */
  renew(page, hasMore, known) {
    const ids = new Set(page.map(({ id }) => id));
    const meets = this.messages.findIndex(({ id }) => ids.has(id));
    const before = meets >= 0 ? this.messages.slice(0, meets) : [];
    const after = this.messages.filter(({ id }) => !known.has(id) && !ids.has(id));
    if (meets < 0) this.hasMore = hasMore;
    for (const message of page) message.key = this.#byId.get(message.id)?.key ?? message.key;
    this.pending = this.pending.filter(({ id }) => id === null || (this.loaded && !ids.has(id)));
    this.#replace([...before, ...page.toReversed(), ...after]);
    this.loaded = true;
  }

  /**
   * Take how far a user had read when the service was asked. A live frame since then may have gone further.
   * @param {string} user @param {string} id
   */
  hadRead(user, id) {
    if (this.#place(id) >= this.#place(this.readBy.get(user))) this.readBy.set(user, id);
  }

  /**
   * Return how many other users have read a message.
   * @param {Message} message @param {string} self
   */
  readers({ n = Infinity }, self) {
    let count = 0;
    for (const [user, id] of this.readBy) if (user !== self && this.#place(id) >= n) count += 1;
    return count;
  }

  /** The messages that the chat service hasn't stored. */
  get unsent() {
    return this.pending.filter(({ state }) => state !== "sent");
  }

  /**
   * Return the place of a message; 0 if it isn't loaded, which usually means older.
   * @param {string} [id]
   */
  #place(id = "") {
    return this.#byId.get(id)?.n ?? 0;
  }

  /** @param {Stored} message */
  #add(message) {
    message.n = (this.messages.at(-1)?.n ?? 0) + 1;
    this.messages.push(message);
    this.#byId.set(message.id, message);
  }

  /** @param {Stored[]} messages */
  #replace(messages) {
    this.messages = [];
    this.#byId.clear();
    for (const message of messages) this.#add(message);
  }
}

/**
 * Return whether two messages have the same sender and content.
 * @param {Message} mine @param {Message} message
 */
function isTwin(mine, message) {
  return mine.sender === message.sender && mine.text === message.text && mine.image === message.image;
}

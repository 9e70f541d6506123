// The messages that were written and aren't stored yet. They are shown at once, sent by the client, and kept in this
// tab over a reload or a new login. A frame that is sent again is the same message (docs/protocol.md, Sending once).

import { ClosedError, newId } from "../client/chatws.js";
import { STORE } from "./api.js";
import { reason } from "./i18n.js";
import { written } from "./room.js";
import { tab } from "./storage.js";

/** @import { Ack, ChatClient, ClientFrame } from "../client/chatws.js" */
/** @import { Room, Written } from "./room.js" */

/**
 * @typedef {object} Needs
 * @property {() => ChatClient | null} client
 * @property {(groupId: string) => Room} roomOf
 * @property {() => Room[]} rooms
 * @property {(room: Room, mine: boolean) => void} onChange called to draw a room; `mine`: a message was written
 */

/** @typedef {string | { image_url: string }} Content */

export class Outbox {
  #store = "";

  /** @param {Needs} needs */
  constructor({ client, roomOf, rooms, onChange }) {
    this.client = client;
    this.roomOf = roomOf;
    this.rooms = rooms;
    this.onChange = onChange;
  }

  /**
   * Begin with a user. Send what an earlier page of this tab left, unless it was refused.
   * @param {string} userId
   */
  begin(userId) {
    const store = `${STORE}:outbox:${userId}`;
    if (store === this.#store) return this.#sendAgain();
    this.#store = store;
    const found = tab.get(store);
    /** @type {(ClientFrame & { why?: string })[]} */
    const frames = Array.isArray(found) ? found.filter((frame) => typeof frame?.data?.group_id === "string") : [];
    const kept = frames.map(({ why, ...frame }) => {
      const message = Object.assign(written(frame, userId), why && { state: "failed", why });
      this.#roomOf(message).pending.push(message);
      return message;
    });
    for (const message of kept) if (!message.why) this.#send(message, this.#roomOf(message));
  }

  /** @param {string} groupId @param {Content} content @param {string} userId */
  send(groupId, content, userId) {
    const image = typeof content === "object";
    const data = {
      group_id: groupId,
      msg_type: image ? 2 : 1,
      content: "",
      image_url: "",
      ...(image ? content : { content }),
    };
    const frame = { type: "send_message", message_id: newId(), timestamp: Math.floor(Date.now() / 1000), data };
    const message = written(frame, userId);
    const room = this.roomOf(groupId);
    room.pending.push(message);
    this.#send(message, room);
  }

  /** @param {Written} message */
  again(message) {
    Object.assign(message, { state: "sending", why: undefined, closed: false });
    this.#send(message, this.#roomOf(message));
  }

  /** @param {Written} message */
  remove(message) {
    const room = this.#roomOf(message);
    room.remove(message.key);
    this.#changed(room, false);
  }

  get count() {
    return this.#unsent().length;
  }

  /** How many will be sent without another click. */
  get waiting() {
    return this.#unsent().filter((message) => !isRefused(message)).length;
  }

  /**
   * End with the user. What waits is kept for the next login, or forgotten.
   * @param {boolean} forget
   */
  end(forget) {
    if (forget && this.#store) tab.remove(this.#store);
    this.#store = "";
  }

  /** Send what the client rejected when it ended, as it has started again. */
  #sendAgain() {
    for (const message of this.#unsent()) if (message.closed) this.again(message);
  }

  #unsent() {
    return this.rooms().flatMap((room) => room.unsent);
  }

  /** @param {Written} message */
  #roomOf(message) {
    return this.roomOf(String(message.frame.data.group_id));
  }

  /** @param {Written} message @param {Room} room */
  async #send(message, room) {
    const answer = this.client()?.resend(message.frame);
    this.#changed(room, true);
    try {
      const { message_id: id } = /** @type {Ack} */ (await answer);
      room.acknowledge(message.key, id);
    } catch (error) {
      Object.assign(message, { state: "failed", why: reason(error), closed: error instanceof ClosedError });
    }
    this.#changed(room, false);
  }

  /** @param {Room} room @param {boolean} mine */
  #changed(room, mine) {
    const frames = this.#unsent().map((message) => ({
      ...message.frame,
      why: isRefused(message) ? message.why : undefined,
    }));
    if (this.#store) tab.set(this.#store, frames);
    this.onChange(room, mine);
  }
}

/** @param {Written} message */
function isRefused({ state, closed }) {
  return state === "failed" && !closed;
}

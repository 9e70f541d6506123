// What was written and isn't stored yet: shown at once, sent by the client, kept in this tab over a reload or a new
// login. A frame that is sent again is the same message (docs/protocol.md, Sending once).

import { ClosedError, newId } from "../client/chatws.js";
import { reason } from "./i18n.js";
import { written } from "./room.js";

export class Outbox {
  #store = "";

  /** `client`: () => ChatClient; `roomOf`: a group's room; `onChange(room, mine)`: something has to be drawn. */
  constructor({ client, roomOf, rooms, onChange }) {
    Object.assign(this, { client, roomOf, rooms, onChange });
  }

  /** For this user, from now on; what an earlier page of this tab left is sent, unless it was refused. */
  begin(userId) {
    const store = `chatws:outbox:${userId}`;
    if (store === this.#store) return this.#sendAgain();
    this.#store = store;
    const kept = JSON.parse(sessionStorage.getItem(store) ?? "[]").map(({ why, ...frame }) => {
      const message = Object.assign(written(frame, userId), why && { state: "failed", why });
      this.roomOf(frame.data.group_id).pending.push(message);
      return message;
    });
    for (const message of kept) if (!message.why) this.#send(message, this.roomOf(message.frame.data.group_id));
  }

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

  again(message) {
    Object.assign(message, { state: "sending", why: undefined, closed: false });
    this.#send(message, this.roomOf(message.frame.data.group_id));
  }

  remove(message) {
    const room = this.roomOf(message.frame.data.group_id);
    room.remove(message.key);
    this.#changed(room, false);
  }

  get count() {
    return this.#unsent().length;
  }

  /** How many will be sent without being asked. */
  get waiting() {
    return this.#unsent().filter((message) => !isRefused(message)).length;
  }

  /** The user is gone; what waits is kept for the next login, or forgotten. */
  end(forget) {
    if (forget && this.#store) sessionStorage.removeItem(this.#store);
    this.#store = "";
  }

  /** The client ended and began anew: what it gave back goes to it again. */
  #sendAgain() {
    for (const message of this.#unsent()) if (message.closed) this.again(message);
  }

  #unsent() {
    return this.rooms().flatMap((room) => room.unsent);
  }

  async #send(message, room) {
    const answer = this.client().resend(message.frame);
    this.#changed(room, true);
    try {
      const { message_id: id } = await answer;
      room.acknowledge(message.key, id);
    } catch (error) {
      Object.assign(message, { state: "failed", why: reason(error), closed: error instanceof ClosedError });
    }
    this.#changed(room, false);
  }

  #changed(room, mine) {
    const frames = this.#unsent().map((message) => ({
      ...message.frame,
      why: isRefused(message) ? message.why : undefined,
    }));
    if (this.#store) sessionStorage.setItem(this.#store, JSON.stringify(frames));
    this.onChange(room, mine);
  }
}

function isRefused({ state, closed }) {
  return state === "failed" && !closed;
}

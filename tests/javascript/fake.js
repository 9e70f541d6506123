// A server that is none, for tests in Node: it receives frames, and answers what a test says.

import { newUser, untilTrue } from "./support.js";

/** @import { ChatOptions } from "../../chatws/static/chatws/client/chatws.js" */

export const NOWHERE = "ws://127.0.0.1:1/ws";

/** A WebSocket that opens, receives what a test says and answers nothing. */
export class Fake {
  /** @type {Fake[]} */
  static made = [];
  readyState = 1;
  /** @type {any[]} */
  sent = [];
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((event: { data: unknown }) => void) | null} */
  onmessage = null;
  /** @type {((event: { code: number }) => void) | null} */
  onclose = null;

  constructor() {
    Fake.made.push(this);
    queueMicrotask(() => this.onopen?.());
  }

  /** @param {string} text */
  send(text) {
    this.sent.push(JSON.parse(text));
  }

  /** @param {string} type */
  of(type) {
    return this.sent.filter((frame) => frame.type === type);
  }

  close() {
    this.readyState = 3;
  }

  /** @param {unknown} frame */
  receive(frame) {
    this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  /** @param {object} [data] */
  welcome(data) {
    this.receive({ type: "auth_success", message_id: "auth", timestamp: 1000, data: { user_id: "1", ...data } });
  }
}

/**
 * Make a client of a fake server, connected but not authenticated.
 * @param {Partial<ChatOptions>} [options]
 */
export async function faked(options) {
  const user = await newUser({ token: "t", WebSocket: /** @type {any} */ (Fake), ...options, user: 1 }, NOWHERE);
  const { length } = Fake.made;
  user.client.connect();
  await untilTrue(() => Boolean(Fake.made[length]?.sent.length));
  return { ...user, socket: /** @type {Fake} */ (Fake.made.at(-1)) };
}

/**
 * End a fake connection, and wait until the client has opened the next one.
 * @param {Fake} socket
 * @returns {Promise<Fake>}
 */
export async function reconnected(socket) {
  const { length } = Fake.made;
  socket.onclose?.({ code: 4501 });
  await untilTrue(() => Boolean(Fake.made[length]?.sent.length));
  return /** @type {Fake} */ (Fake.made[length]);
}

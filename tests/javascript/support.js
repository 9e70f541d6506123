// Shared by the tests in Node: the connection to the chat that pytest started, and users with a client.

import net from "node:net";
import { createInterface } from "node:readline";
import { after, afterEach } from "node:test";

import { ChatClient } from "../../chatws/static/chatws/client/chatws.js";

/** @import { ChatEvents, ChatOptions } from "../../chatws/static/chatws/client/chatws.js" */

/** @typedef {{ [Type in keyof ChatEvents]: ChatEvents[Type] & { type: Type, at: number } }} Seen events by type */

/**
 * A user with a client. `of` returns the events of a type, `texts` and `states` those of messages and of the client.
 * @typedef {object} User
 * @property {any} id
 * @property {ChatClient} client
 * @property {<Type extends keyof ChatEvents>(type: Type) => Seen[Type][]} of
 * @property {() => string[]} texts
 * @property {() => string[]} states
 */

/** @typedef {Partial<ChatOptions> & { user?: unknown }} UserOptions `user`: the id of a user that exists */

export const URL = process.env.CHATWS_URL ?? "";
/** A longer wait counts as a hang. No test depends on time otherwise. */
const LIMIT_MS = 60_000;
export const LOOK_MS = 20;

const socket = net.connect(Number(process.env.CHATWS_CONTROL), "127.0.0.1");
const lines = createInterface(socket)[Symbol.asyncIterator]();
/** @type {Set<ChatClient>} */
const clients = new Set();
/** @type {Promise<any>} */
let last = Promise.resolve();

afterEach(() => {
  for (const client of clients) client.close();
  clients.clear();
});
after(() => socket.end());

/**
 * Send a command to pytest (tests/javascript/control.py). Return its value.
 * @param {unknown[]} command
 * @returns {Promise<any>}
 */
export function control(...command) {
  last = last
    .catch(() => {})
    .then(async () => {
      socket.write(`${JSON.stringify(command)}\n`);
      const { value, error } = JSON.parse((await lines.next()).value ?? "null");
      if (error) throw new Error(error);
      return value;
    });
  return last;
}

/** @type {(keyof ChatEvents)[]} */
const SEEN = ["state", "ready", "lost", "error", "new_message", "group_member", "group_joined", "auth_success"];

/** @type {(keyof ChatEvents)[]} */
const SEEN_OR_ANSWER = [...SEEN, "ack", "pong"];

/**
 * Make a user with a client that is not connected yet, and record the client's events.
 * @param {UserOptions} [options]
 * @returns {Promise<User>}
 */
export async function newUser(options = {}, url = URL) {
  const id = options.user ?? (await control("user"));
  const client = new ChatClient(url, {
    token: () => control("token", id),
    firstWait: 0.05,
    longestWait: 1,
    ...options,
  });
  clients.add(client);
  /** @type {any[]} */
  const seen = [];
  for (const type of SEEN)
    client.listen(type, (detail, event) => seen.push({ type, at: Date.now(), ...detail, frame: event.frame }));
  /** @type {User["of"]} */
  const of = (type) => seen.filter((event) => event.type === type);
  const texts = () => of("new_message").map(({ content }) => content);
  const states = () => of("state").map(({ state }) => state);
  return { id, client, of, texts, states };
}

/**
 * Make two users of one chat group, both online. The first one's client has the options.
 * @param {UserOptions} [options]
 */
export async function twoInAGroup(options) {
  const [ann, ben] = [await newUser(options), await newUser()];
  const group = await control("group", ann.id, ben.id);
  for (const { client } of [ann, ben]) await online(client);
  return { ann, ben, group };
}

/**
 * Connect a client and wait until it is online.
 * @param {ChatClient} client
 */
export async function online(client) {
  client.connect();
  await until(client, () => client.state === "online");
}

/**
 * Wait until a condition holds. It is checked after each event of the client.
 * @param {ChatClient} client @param {() => boolean} condition
 */
export async function until(client, condition) {
  const done = new AbortController();
  const signal = AbortSignal.any([done.signal, AbortSignal.timeout(LIMIT_MS)]);
  try {
    await new Promise((/** @type {(value?: unknown) => void} */ resolve, reject) => {
      const look = () => condition() && resolve();
      for (const type of SEEN_OR_ANSWER) client.addEventListener(type, look, { signal: done.signal });
      signal.addEventListener("abort", () => reject(new Error(`never: ${condition}`)));
      look();
    });
  } finally {
    done.abort();
  }
}

/**
 * Wait until a condition holds that no event reports.
 * @param {() => boolean} condition
 */
export async function untilTrue(condition) {
  const end = Date.now() + LIMIT_MS;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/**
 * Make a WebSocket class that passes the data of incoming frames through a filter.
 * @param {(data: string) => string[]} filter
 */
export function through(filter) {
  return class extends WebSocket {
    /** @param {((event: MessageEvent) => void) | null} listener */
    set onmessage(listener) {
      const passOn = (/** @type {MessageEvent} */ event) => {
        for (const data of filter(event.data)) listener?.(/** @type {MessageEvent} */ ({ data }));
      };
      super.onmessage = listener && passOn;
    }
  };
}

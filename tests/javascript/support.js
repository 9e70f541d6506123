// What the tests in Node share: the way to the chat that pytest started, and a user at a client.

import { once } from "node:events";
import net from "node:net";
import { createInterface } from "node:readline";
import { after, afterEach } from "node:test";

import { ChatClient } from "../../chatws/static/chatws/client/chatws.js";

export const URL = process.env.CHATWS_URL;
/** After so long a wait counts as a hang; no test is judged by the clock. */
const LIMIT_MS = 60_000;

const socket = net.connect(Number(process.env.CHATWS_CONTROL), "127.0.0.1");
const lines = createInterface(socket)[Symbol.asyncIterator]();
const clients = new Set();
let last = Promise.resolve();

afterEach(() => {
  for (const client of clients) client.close();
  clients.clear();
});
after(() => socket.end());

/** Ask pytest for something: tests/javascript/control.py. */
export function control(...command) {
  last = last
    .catch(() => {})
    .then(async () => {
      socket.write(`${JSON.stringify(command)}\n`);
      const { value, error } = JSON.parse((await lines.next()).value);
      if (error) throw new Error(error);
      return value;
    });
  return last;
}

/** A new user with a client that is not connected yet; `seen` holds what it heard. */
export async function newUser(options = {}, url = URL) {
  const id = options.user ?? (await control("user"));
  const client = new ChatClient(url, {
    token: () => control("token", id),
    firstWait: 0.05,
    longestWait: 1,
    ...options,
  });
  clients.add(client);
  const seen = [];
  for (const type of ["state", "ready", "lost", "error", "new_message", "group_member", "group_joined", "auth_success"])
    client.listen(type, (detail, event) => seen.push({ type, at: Date.now(), ...detail, frame: event.frame }));
  const user = { id, client, seen };
  user.of = (type) => seen.filter((event) => event.type === type);
  user.texts = () => user.of("new_message").map(({ content }) => content);
  user.states = () => user.of("state").map(({ state }) => state);
  return user;
}

/** Two users of one chat group, both online. */
export async function twoInAGroup(options) {
  const [ann, ben] = [await newUser(options), await newUser()];
  const group = await control("group", ann.id, ben.id);
  for (const { client } of [ann, ben]) await online(client);
  return { ann, ben, group };
}

export async function online(client) {
  const ready = once(client, "ready", { signal: AbortSignal.timeout(LIMIT_MS) });
  client.connect();
  await ready;
}

const TYPES = [
  "state",
  "ready",
  "lost",
  "error",
  "new_message",
  "group_member",
  "group_joined",
  "auth_success",
  "ack",
  "pong",
];

/** Wait until a condition holds, looked at after each event of the client. */
export async function until(client, condition) {
  const done = new AbortController();
  const signal = AbortSignal.any([done.signal, AbortSignal.timeout(LIMIT_MS)]);
  try {
    await new Promise((resolve, reject) => {
      const look = () => condition() && resolve();
      for (const type of TYPES) client.addEventListener(type, look, { signal: done.signal });
      signal.addEventListener("abort", () => reject(new Error(`never: ${condition}`)));
      look();
    });
  } finally {
    done.abort();
  }
}

/** Wait until a condition holds of which no event tells. */
export async function untilTrue(condition) {
  const end = Date.now() + LIMIT_MS;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A WebSocket whose incoming frames pass through `filter` first. */
export function through(filter) {
  return class extends WebSocket {
    set onmessage(listener) {
      const passOn = (event) => {
        for (const data of filter(event.data)) listener({ data });
      };
      super.onmessage = listener && passOn;
    }
  };
}

// Tests of chatws.js with a real gateway: the connection, the feeds, the close codes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatClient, ChatEvent } from "../../chatws/static/chatws/client/chatws.js";
import { control, newUser, online, through, twoInAGroup, until } from "./support.js";

/** @import { Message } from "../../chatws/static/chatws/client/chatws.js" */

test("an event has type, detail and frame", async () => {
  const { ann, ben, group } = await twoInAGroup();
  /** @type {Promise<ChatEvent<"new_message">>} */
  const received = new Promise((resolve) => ann.client.addEventListener("new_message", resolve, { once: true }));
  const { message_id } = await ben.client.send(group, "hello 你好");
  const event = await received;
  assert.ok(event instanceof ChatEvent);
  assert.equal(event.detail.content, "hello 你好");
  assert.equal(event.detail.sender, String(ben.id));
  assert.equal(event.detail.message_id, message_id);
  assert.equal(event.frame?.feed, `group:${group}`);
  assert.equal(ann.client.userId, String(ann.id));
});

test("a reconnect delivers missed messages once, in order", async () => {
  const { ann, ben, group } = await twoInAGroup();
  for (let round = 0; round < 3; round += 1) {
    await control("reset");
    const said = [1, 2, 3].map((number) =>
      control("say", group, ben.id, `${round}.${number}`, `${group}-${round}-${number}`),
    );
    await Promise.all(said);
    await until(ann.client, () => ann.texts().length === 3 * (round + 1));
  }
  assert.deepEqual(ann.texts(), ["0.1", "0.2", "0.3", "1.1", "1.2", "1.3", "2.1", "2.2", "2.3"]);
  assert.deepEqual(ann.of("lost"), []);
  assert.ok(ann.of("ready").length > 1);
  assert.ok(
    ann
      .of("ready")
      .at(-1)
      ?.feeds?.every(({ recovered }) => recovered),
  );
});

test("a new client resumes from saved positions", async () => {
  const { ann, ben, group } = await twoInAGroup();
  await control("say", group, ben.id, "first", `${group}-1`);
  await until(ann.client, () => ann.texts().length === 1);
  const { positions } = ann.client;
  ann.client.close();
  await control("say", group, ben.id, "second", `${group}-2`);
  const again = await newUser({ user: ann.id, positions: JSON.parse(JSON.stringify(positions)) });
  await online(again.client);
  await until(again.client, () => again.texts().length > 0);
  assert.deepEqual(again.texts(), ["second"]);
});

test("a lost log gives an event, then live messages", async () => {
  const { ann, ben, group } = await twoInAGroup();
  await control("say", group, ben.id, "before", `${group}-1`);
  await until(ann.client, () => ann.texts().length === 1);
  await control("lose_log", `group:${group}`);
  await until(ann.client, () => ann.of("lost").length === 1);
  assert.equal(ann.of("lost")[0].feed, `group:${group}`);
  ann.client.close();
  await control("lose_log", `group:${group}`);
  ann.client.connect();
  await until(ann.client, () => ann.of("lost").length === 2);
  await control("say", group, ben.id, "after", `${group}-2`);
  await until(ann.client, () => ann.texts().includes("after"));
});

test("a gap in a feed makes the client resume", async () => {
  let swallow = 1;
  const Lossy = through((data) => (data.includes('"swallowed"') && swallow-- > 0 ? [] : [data]));
  const { ann, ben, group } = await twoInAGroup({ WebSocket: Lossy });
  for (const text of ["one", "swallowed", "three"]) await control("say", group, ben.id, text, `${group}-${text}`);
  await until(ann.client, () => ann.texts().length === 3);
  assert.deepEqual(ann.texts(), ["one", "swallowed", "three"]);
  assert.equal(ann.of("ready").length, 2);
});

test("repeated frames are delivered once", async () => {
  const { ann, ben, group } = await twoInAGroup({ WebSocket: through((data) => [data, data, data]) });
  const third = await control("user");
  await control("add", group, third);
  await control("say", group, ben.id, "thrice", `${group}-1`);
  await until(ann.client, () => ann.texts().length === 1);
  const added = () => ann.of("group_member").filter(({ user_id: user }) => user === third);
  await until(ann.client, () => added().length > 0);
  await ann.client.request("ping", {});
  assert.equal(added().length, 1);
  assert.deepEqual(ann.texts(), ["thrice"]);
  assert.equal(ann.of("ready").length, 1);
});

test("a publication repeated at another offset is dropped", async () => {
  const again = (/** @type {{ offset: number }} */ frame) => JSON.stringify({ ...frame, offset: frame.offset + 1 });
  const Repeating = through((data) => (data.includes('"twice"') ? [data, data, again(JSON.parse(data))] : [data]));
  const { ann, ben, group } = await twoInAGroup({ WebSocket: Repeating });
  await control("say", group, ben.id, "twice", `${group}-1`);
  await until(ann.client, () => ann.texts().length === 1);
  assert.deepEqual(ann.texts(), ["twice"]);
  assert.equal(ann.of("ready").length, 1);
});

test("hurry detects a dead connection", async () => {
  const { ann } = await twoInAGroup();
  await control("drop_silently");
  ann.client.hurry();
  await until(ann.client, () => ann.client.state === "waiting");
  await control("restore");
  await until(ann.client, () => ann.client.state === "online");
  assert.equal(ann.of("state").find(({ state }) => state === "waiting")?.code, 1006);
});

test("a silent connection is pinged, then given up", async () => {
  const impatient = through((data) => [data.replace(/"heartbeat_seconds":\d+/, `"heartbeat_seconds":3`)]);
  const { ann } = await twoInAGroup({ WebSocket: impatient });
  let pongs = 0;
  ann.client.listen("pong", () => (pongs += 1));
  await until(ann.client, () => pongs >= 2);
  assert.equal(ann.of("ready").length, 1);
  await control("drop_silently");
  await until(ann.client, () => ann.client.state === "waiting");
  await control("restore");
  await until(ann.client, () => ann.client.state === "online");
});

test("too many bad frames stop the client", async () => {
  const { ann } = await twoInAGroup();
  const bad = Array.from({ length: 25 }, () => ann.client.request("nonsense", {}).catch((error) => error));
  const errors = await Promise.all(bad);
  assert.equal(ann.client.state, "stopped");
  assert.equal(ann.of("state").at(-1)?.code, 4400);
  assert.deepEqual(
    new Set(errors.map((/** @type {any} */ { name, code }) => `${name} ${code}`)),
    new Set(["RefusedError 400", "ClosedError 4400"]),
  );
  await assert.rejects(ann.client.send("g", "late"), { name: "ClosedError", code: 4400 });
  await online(ann.client); // the application may begin again
});

/**
 * Return the waits between connections, in milliseconds. The other timers are longer.
 * @param {{ calls: { arguments: any[] }[] }} timers
 */
function waits(timers) {
  return timers.calls.map(({ arguments: [, wait] }) => wait).filter((wait) => wait < 1000);
}

const STOPS = "stops";
const COMES_BACK = "reconnects, with growing waits";
const WAITS_LONG = "reconnects, with the longest wait";
const CODES = {
  1000: STOPS,
  1001: COMES_BACK,
  4403: STOPS,
  4409: STOPS,
  4499: STOPS,
  4500: COMES_BACK,
  4501: COMES_BACK,
  4502: COMES_BACK,
  4503: COMES_BACK,
  4508: COMES_BACK,
  4529: WAITS_LONG,
};

for (const [code, expected] of Object.entries(CODES)) {
  test(`after ${code} the client ${expected}`, async (context) => {
    context.mock.method(Math, "random", () => 1);
    const timers = context.mock.method(globalThis, "setTimeout").mock;
    const url = await control("closing", Number(code));
    const ann = await newUser({ firstWait: 0.001, longestWait: 0.1 }, url);
    ann.client.connect();
    const ends = () => ann.of("state").filter(({ state }) => state !== "connecting");
    await until(ann.client, () => ends().length === (expected === STOPS ? 1 : 3));
    assert.equal(ann.client.state, expected === STOPS ? "stopped" : "waiting");
    ann.client.close();
    assert.deepEqual(
      new Set(
        ends()
          .slice(0, 3)
          .map((end) => end.code),
      ),
      new Set([Number(code)]),
    );
    assert.deepEqual(waits(timers), { [STOPS]: [], [COMES_BACK]: [1, 2, 4], [WAITS_LONG]: [100, 100, 100] }[expected]);
  });
}

test("hurry waits for retry_after of a shutdown", async () => {
  const url = await control("start_draining");
  let told = 0; // before the client can have read its clock
  const stamping = through((data) => {
    if (data.includes('"shutdown"')) told = Date.now();
    return [data];
  });
  const ann = await newUser({ WebSocket: stamping }, url);
  const asked = new Promise((resolve) => ann.client.listen("shutdown", ({ retry_after }) => resolve(retry_after)));
  await online(ann.client);
  const drained = control("drain");
  const retryAfter = await asked;
  await until(ann.client, () => ann.client.state === "waiting");
  assert.equal(ann.of("state").at(-1)?.code, 4501);
  ann.client.hurry();
  assert.equal(await drained, 0);
  await control("start_draining");
  await until(ann.client, () => ann.client.state === "online");
  const [, again] = ann.of("state").filter(({ state }) => state === "connecting");
  assert.ok(retryAfter >= 1);
  assert.ok(
    again.at - told >= retryAfter * 1000 - 5,
    `tried ${again.at - told} ms after it was asked for ${retryAfter} s`,
  );
  assert.equal(ann.of("ready").length, 2);
});

test("waits double, with full jitter and a bound", async (context) => {
  const client = new ChatClient("ws://127.0.0.1:1/", { token: "t", firstWait: 0.1, longestWait: 0.4 });
  const drawn = [1, 1, 1, 1, 0, 0];
  context.mock.method(Math, "random", () => drawn.shift() ?? 1);
  const timers = context.mock.method(globalThis, "setTimeout").mock;
  let attempts = 0;
  await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    client.listen("state", ({ state }) => {
      if (state === "connecting" && ++attempts === 7) resolve();
    });
    client.connect();
  });
  client.close();
  assert.deepEqual(waits(timers), [100, 200, 400, 400, 0, 0]);
});

test("refused typing gives no error and no wait", async () => {
  let refused = 0;
  const slower = through((data) => {
    const isOurs = data.includes('"typing"') && data.includes('"code":429');
    if (isOurs) refused += 1;
    return [isOurs ? data.replace(/"retry_after":\d+/, '"retry_after":1000') : data];
  });
  const { ann, group } = await twoInAGroup({ WebSocket: slower });
  for (let count = 0; count < 100; count += 1) ann.client.typing(group, count % 2 === 0);
  await ann.client.request("ping", {});
  assert.ok(refused > 0);
  assert.deepEqual(ann.of("error"), []);
  await control("reset");
  await until(ann.client, () => ann.of("ready").length === 2);
});

test("typing stops if the server doesn't know it", async () => {
  let code = 403;
  let typed = 0;
  class Lacking extends through((data) => [data.replace('"code":403', `"code":${code}`)]) {
    /** @param {string} text */
    send(text) {
      if (text.includes('"type":"typing"')) typed += 1;
      super.send(text);
    }
  }
  const { ann } = await twoInAGroup({ WebSocket: Lacking });
  for (const [answer, expected] of [
    [429, 1],
    [403, 2],
    [501, 3],
    [501, 3],
  ]) {
    code = answer;
    ann.client.typing("not-mine");
    await ann.client.request("ping", {});
    assert.equal(typed, expected);
  }
  assert.deepEqual(ann.of("error"), []);
});

test("join after leave delivers missed messages", async () => {
  const { ann, ben, group } = await twoInAGroup();
  await ann.client.leave(group);
  await ben.client.send(group, "unheard");
  await ann.client.request("ping", {});
  assert.deepEqual(ann.texts(), []);
  const { recovered } = await ann.client.join(group);
  assert.equal(recovered, true);
  await until(ann.client, () => ann.texts().length === 1);
});

test("an id above 2^53 stays exact", async () => {
  const big = "18446744073709551557";
  const { client } = await newUser({ user: big });
  const group = await control("group", await control("user"));
  await control("add", group, big);
  await online(client);
  /** @type {Promise<Message>} */
  const received = new Promise((resolve) => client.listen("new_message", resolve));
  await client.send(group, "from far above");
  assert.equal(String((await received).sender_id), big);
});

test("an http address becomes a ws address", () => {
  assert.equal(new ChatClient("https://chat.example/ws", { token: "t" }).url, "wss://chat.example/ws");
  assert.equal(new ChatClient("http://127.0.0.1:8889/ws", { token: "t" }).url, "ws://127.0.0.1:8889/ws");
  assert.throws(() => new ChatClient("/ws", { token: "t" }), TypeError);
});

// chatws.js against a real gateway: its connection, its feeds, its close codes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatClient, ChatEvent } from "../../chatws/static/chatws/client/chatws.js";
import { control, newUser, online, through, twoInAGroup, until } from "./support.js";

test("what is said is heard, as an event with its type, data and frame", async () => {
  const { ann, ben, group } = await twoInAGroup();
  const heard = new Promise((resolve) => ann.client.addEventListener("new_message", resolve, { once: true }));
  const { message_id } = await ben.client.send(group, "hello 你好");
  const event = await heard;
  assert.ok(event instanceof ChatEvent);
  assert.equal(event.detail.content, "hello 你好");
  assert.equal(event.detail.sender, String(ben.id));
  assert.equal(event.detail.message_id, message_id);
  assert.equal(event.frame.feed, `group:${group}`);
  assert.equal(ann.client.userId, String(ann.id));
});

test("after a break it comes back and hears what was said meanwhile, once and in order", async () => {
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
      .feeds.every(({ recovered }) => recovered),
  );
});

test("another client goes on where the places of an earlier one end", async () => {
  const { ann, ben, group } = await twoInAGroup();
  await control("say", group, ben.id, "first", `${group}-1`);
  await until(ann.client, () => ann.texts().length === 1);
  const { places } = ann.client;
  ann.client.close();
  await control("say", group, ben.id, "second", `${group}-2`);
  const again = await newUser({ user: ann.id, places: JSON.parse(JSON.stringify(places)) });
  await online(again.client);
  await until(again.client, () => again.texts().length > 0);
  assert.deepEqual(again.texts(), ["second"]);
});

test("a log that was lost is told, also to one who was away, and live goes on", async () => {
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

test("a gap in a feed is not shown: it resumes from before it", async () => {
  let swallow = 1;
  const Lossy = through((data) => (data.includes('"swallowed"') && swallow-- > 0 ? [] : [data]));
  const { ann, ben, group } = await twoInAGroup({ WebSocket: Lossy });
  for (const text of ["one", "swallowed", "three"]) await control("say", group, ben.id, text, `${group}-${text}`);
  await until(ann.client, () => ann.texts().length === 3);
  assert.deepEqual(ann.texts(), ["one", "swallowed", "three"]);
  assert.equal(ann.of("ready").length, 2);
});

test("frames that come three times count once, also those without an id", async () => {
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

test("a publication that comes twice, or again under another offset, is shown once", async () => {
  const again = (frame) => JSON.stringify({ ...frame, offset: frame.offset + 1 });
  const Repeating = through((data) => (data.includes('"twice"') ? [data, data, again(JSON.parse(data))] : [data]));
  const { ann, ben, group } = await twoInAGroup({ WebSocket: Repeating });
  await control("say", group, ben.id, "twice", `${group}-1`);
  await until(ann.client, () => ann.texts().length === 1);
  assert.deepEqual(ann.texts(), ["twice"]);
  assert.equal(ann.of("ready").length, 1);
});

test("a connection that died without a word is noticed when the client hurries", async () => {
  const { ann } = await twoInAGroup();
  await control("drop_silently");
  ann.client.hurry();
  await until(ann.client, () => ann.client.state === "waiting");
  await control("restore");
  await until(ann.client, () => ann.client.state === "online");
  assert.equal(ann.of("state").find(({ state }) => state === "waiting").code, 1006);
});

test("a silent connection is asked, and one that doesn't answer is given up", async () => {
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

test("a 44xx stops it: too many bad frames", async () => {
  const { ann } = await twoInAGroup();
  const bad = Array.from({ length: 25 }, () => ann.client.request("nonsense", {}).catch((error) => error));
  const errors = await Promise.all(bad);
  assert.equal(ann.client.state, "stopped");
  assert.equal(ann.of("state").at(-1).code, 4400);
  assert.deepEqual(
    new Set(errors.map(({ name, code }) => `${name} ${code}`)),
    new Set(["RefusedError 400", "ClosedError 4400"]),
  );
  await assert.rejects(ann.client.send("g", "late"), { name: "ClosedError", code: 4400 });
  await online(ann.client); // the application may begin again
});

/** The waits between connections, in ms: the other timers take longer. */
function waits(timers) {
  return timers.calls.map(({ arguments: [, wait] }) => wait).filter((wait) => wait < 1000);
}

const STOPS = "stops";
const COMES_BACK = "comes back, later each time";
const WAITS_LONG = "comes back, after the longest wait";
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
  test(`after ${code} it ${expected}`, async (context) => {
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

test("a gateway that ends is left for as long as it asks, whoever hurries", async () => {
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
  assert.equal(ann.of("state").at(-1).code, 4501);
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

test("its waits double up to the longest, and are drawn from zero", async (context) => {
  const client = new ChatClient("ws://127.0.0.1:1/", { token: "t", firstWait: 0.1, longestWait: 0.4 });
  const drawn = [1, 1, 1, 1, 0, 0];
  context.mock.method(Math, "random", () => drawn.shift() ?? 1);
  const timers = context.mock.method(globalThis, "setTimeout").mock;
  let attempts = 0;
  await new Promise((resolve) => {
    client.listen("state", ({ state }) => {
      if (state === "connecting" && ++attempts === 7) resolve();
    });
    client.connect();
  });
  client.close();
  assert.deepEqual(waits(timers), [100, 200, 400, 400, 0, 0]);
});

test("typing faster than is told is nobody's error, and makes no connection wait", async () => {
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

test("where typing isn't known it falls silent, without an error", async () => {
  let code = 403;
  let typed = 0;
  class Lacking extends through((data) => [data.replace('"code":403', `"code":${code}`)]) {
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

test("a group that was left is heard again with what was missed", async () => {
  const { ann, ben, group } = await twoInAGroup();
  await ann.client.leave(group);
  await ben.client.send(group, "unheard");
  await ann.client.request("ping", {});
  assert.deepEqual(ann.texts(), []);
  const { recovered } = await ann.client.join(group);
  assert.equal(recovered, true);
  await until(ann.client, () => ann.texts().length === 1);
});

test("an id that a double can't hold stays exact", async () => {
  const big = "18446744073709551557";
  const { client } = await newUser({ user: big });
  const group = await control("group", await control("user"));
  await control("add", group, big);
  await online(client);
  const heard = new Promise((resolve) => client.listen("new_message", resolve));
  await client.send(group, "from far above");
  assert.equal(String((await heard).sender_id), big);
});

test("relative to a page, and http, an address becomes that of a socket", () => {
  assert.equal(new ChatClient("https://chat.example/ws", { token: "t" }).url, "wss://chat.example/ws");
  assert.equal(new ChatClient("http://127.0.0.1:8889/ws", { token: "t" }).url, "ws://127.0.0.1:8889/ws");
  assert.throws(() => new ChatClient("/ws", { token: "t" }), TypeError);
});

// Tests of chatws.js: what `join` and `leave` send, also when the connection is lost before the answer.

import assert from "node:assert/strict";
import { test } from "node:test";

import { faked, reconnected } from "./fake.js";
import { control, newUser, online, through, until, untilTrue } from "./support.js";

/** @import { Fake } from "./fake.js" */

const FEED = { feed: "group:g", epoch: "e" };

/** @param {number} offset */
const publication = (offset) => ({
  type: "new_message",
  message_id: `m-${offset}`,
  timestamp: 1,
  data: {},
  ...FEED,
  offset,
});

/**
 * Answer the last frame of a type.
 * @param {Fake} socket @param {string} type @param {string} answer @param {object} [data]
 */
const reply = (socket, type, answer, data) =>
  socket.receive({ type: answer, message_id: socket.of(type).at(-1).message_id, timestamp: 1, data: { ...data } });

test("a repeated join has the present position", async () => {
  const { client, socket } = await faked({ positions: { "group:g": { epoch: "e", offset: 6 } } });
  socket.welcome({ feeds: [{ ...FEED, offset: 6, recovered: true }] });
  const joined = client.join("g");
  assert.deepEqual(client.pending[0].data, { group_id: "g" });
  socket.receive(publication(7));
  const next = await reconnected(socket);
  next.welcome({ feeds: [{ ...FEED, offset: 7, recovered: true }] });
  next.receive({ type: "feed_reset", message_id: "", timestamp: 1, data: { ...FEED, epoch: "new", offset: 2 } });
  reply(next, "join_group", "error", { code: 503, message: "away" });
  const third = await reconnected(next);
  third.welcome({ feeds: [] });
  await untilTrue(() => third.of("join_group").length > 0); // a refused frame is repeated after a drawn pause
  const sent = [socket, next, third].map((one) => one.of("join_group")[0].data.resume);
  assert.deepEqual(sent, [
    { epoch: "e", offset: 6 },
    { epoch: "e", offset: 7 },
    { epoch: "new", offset: 2 },
  ]);
  reply(third, "join_group", "group_joined");
  await joined;
});

test("a join that another client saved resumes nothing unknown", async () => {
  const { client, socket } = await faked();
  socket.welcome();
  const data = { group_id: "g", resume: { epoch: "e", offset: 3 } };
  const joined = client.resend({ type: "join_group", message_id: "1", timestamp: 1, data });
  assert.deepEqual(socket.of("join_group")[0].data, { group_id: "g" });
  reply(socket, "join_group", "group_joined");
  await joined;
});

test("a repeated message is unchanged", async () => {
  const { client, socket } = await faked();
  socket.welcome({ feeds: [{ ...FEED, offset: 6 }] });
  const sent = client.send("g", "once");
  socket.receive(publication(7));
  const next = await reconnected(socket);
  next.welcome({ feeds: [{ ...FEED, offset: 7, recovered: true }] });
  assert.equal(JSON.stringify(next.of("send_message")), JSON.stringify(socket.of("send_message")));
  reply(next, "send_message", "ack", { success: true });
  await sent;
});

test("joins and leaves take effect in order", async () => {
  const { client, socket } = await faked();
  socket.welcome({ feeds: [{ ...FEED, offset: 6 }] });
  const done = [client.leave("g"), client.join("g"), client.leave("other")];
  const kinds = (/** @type {Fake} */ one) =>
    one.sent.filter(({ type }) => type !== "auth").map(({ type, data }) => `${type} ${data.group_id}`);
  assert.deepEqual(kinds(socket), ["leave_group g", "leave_group other"]);
  const next = await reconnected(socket);
  next.welcome({ feeds: [{ ...FEED, offset: 8, recovered: true }] });
  assert.deepEqual(kinds(next), ["leave_group g", "leave_group other"]);
  for (const offset of [7, 8]) next.receive(publication(offset));
  const [leave] = next.of("leave_group");
  next.receive({ type: "group_left", message_id: leave.message_id, timestamp: 1, data: { group_id: "g" } });
  assert.deepEqual(next.of("join_group")[0].data.resume, { epoch: "e", offset: 8 });
  reply(next, "join_group", "group_joined");
  reply(next, "leave_group", "group_left");
  await Promise.all(done);
});

test("a loss is told once", async () => {
  const { of, socket } = await faked({ positions: { "group:g": { epoch: "e", offset: 6 } } });
  const lost = { ...FEED, epoch: "new", offset: 2, recovered: false };
  socket.welcome({ feeds: [lost] });
  socket.receive({ type: "feed_reset", message_id: "", timestamp: 1, data: lost });
  assert.equal(of("lost").length, 1);
  socket.receive({ type: "feed_reset", message_id: "", timestamp: 1, data: { ...lost, offset: 3 } });
  assert.equal(of("lost").length, 2);
});

test("leave and join over a reconnect bring no publication twice", async () => {
  /** @type {number[]} */
  const offsets = [];
  const counting = through((data) => {
    const { feed, offset } = JSON.parse(data);
    if (feed?.startsWith("group:")) offsets.push(offset);
    return [data];
  });
  const ann = await newUser({ WebSocket: counting });
  const group = await control("group", ann.id);
  await online(ann.client);
  await control("say", group, ann.id, "before", `${group}-1`);
  await until(ann.client, () => ann.texts().length === 1);
  await control("swallow_answers");
  const done = [ann.client.leave(group), ann.client.join(group)];
  for (const text of ["missed", "too"]) await control("say", group, ann.id, text, `${group}-${text}`);
  await control("restore");
  await control("reset");
  await Promise.all(done);
  await control("say", group, ann.id, "after", `${group}-2`);
  await until(ann.client, () => ann.texts().includes("after"));
  assert.deepEqual(ann.texts(), ["before", "missed", "too", "after"]);
  assert.equal(new Set(offsets).size, offsets.length, String(offsets));
  assert.deepEqual(ann.of("lost"), []);
});

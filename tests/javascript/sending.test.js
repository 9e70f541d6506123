// Tests of chatws.js with a real gateway: a sent message is stored once and in order, or rejected.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ClosedError, newId, RefusedError } from "../../chatws/static/chatws/client/chatws.js";
import { control, newUser, online, through, twoInAGroup, until, untilTrue } from "./support.js";

/** @import { Ack } from "../../chatws/static/chatws/client/chatws.js" */

test("a message with a lost ack is stored once", async () => {
  const { ann, group } = await twoInAGroup();
  await control("swallow_answers");
  const sent = ann.client.send(group, "only once");
  while (!(await control("history", group)).includes("only once")) assert.equal(ann.client.pending.length, 1);
  const frame = structuredClone(ann.client.pending[0]);
  await control("restore");
  await control("reset");
  const { message_id } = await sent;
  assert.deepEqual(await control("history", group), ["only once"]);
  const again = /** @type {Ack} */ (await ann.client.resend(frame));
  assert.equal(again.message_id, message_id);
  assert.deepEqual(await control("history", group), ["only once"]);
});

test("messages written offline are sent in order", async () => {
  const { ann, group } = await twoInAGroup();
  await control("drop_silently");
  await control("reset");
  await until(ann.client, () => ann.client.state !== "online");
  const texts = Array.from({ length: 12 }, (_, number) => `line ${number}`);
  const sent = texts.map((text) => ann.client.send(group, text));
  assert.equal(ann.client.pending.length, 12);
  await control("restore");
  await control("reset");
  await Promise.all(sent);
  assert.deepEqual(await control("history", group), texts);
  assert.equal(ann.client.pending.length, 0);
});

test("rate-limited messages wait and keep their order", async () => {
  let refused = 0;
  const counting = through((data) => {
    if (data.includes('"code":429')) refused += 1;
    return [data];
  });
  const ann = await newUser({ WebSocket: counting }, await control("start_slow"));
  const group = await control("group", ann.id);
  await online(ann.client);
  const texts = Array.from({ length: 10 }, (_, number) => `fast ${number}`); // 5 at once, and 1 a second
  await Promise.all(texts.map((text) => ann.client.send(group, text)));
  assert.deepEqual(await control("history", group), texts);
  assert.ok(refused > 0);
});

test("a message waits for the chat service", async () => {
  let refused = 0;
  const counting = through((data) => {
    if (data.includes('"code":503')) refused += 1;
    return [data];
  });
  const { ann, group } = await twoInAGroup({ WebSocket: counting });
  await control("stop_rpc");
  const sent = ann.client.send(group, "patience");
  await untilTrue(() => refused > 0);
  await control("start_rpc");
  await sent;
  assert.deepEqual(await control("history", group), ["patience"]);
  assert.equal(ann.of("ready").length, 1);
});

test("a refused frame can be sent again", async () => {
  const { ann } = await twoInAGroup();
  const group = await control("group", await control("user"));
  const error = await ann.client.send(group, "let me in").catch((reason) => reason);
  assert.ok(error instanceof RefusedError);
  assert.equal(error.code, 403);
  assert.equal(error.frame.data.content, "let me in");
  await control("add", group, ann.id);
  await until(ann.client, () => ann.of("group_joined").length > 0);
  const ack = /** @type {Ack} */ (await ann.client.resend(error.frame));
  assert.ok(ack.message_id);
  await assert.rejects(ann.client.send(group, "   "), { code: 400 });
  await assert.rejects(ann.client.send(group, "x".repeat(5_001)), { code: 413 });
  await assert.rejects(ann.client.send(group, { image_url: "ftp://x" }), { code: 400 });
  assert.ok((await ann.client.send(group, { image_url: "https://images.example/a.png" })).success);
});

test("only the frame that is too big fails", async () => {
  const { ann, group } = await twoInAGroup();
  const big = ann.client.send(group, "x".repeat(70_000)).catch((error) => error);
  const small = ann.client.request("ping", {});
  assert.equal((await big).code, 413);
  await small;
  await ann.client.send(group, "small");
  assert.deepEqual(await control("history", group), ["small"]);
});

test("an aborted message is rejected and never sent", async () => {
  const ann = await newUser();
  const group = await control("group", ann.id);
  const controller = new AbortController();
  const sent = ann.client.send(group, "never mind", { signal: controller.signal });
  controller.abort(new Error("changed my mind"));
  await assert.rejects(sent, /changed my mind/);
  await online(ann.client);
  await ann.client.send(group, "this one");
  assert.deepEqual(await control("history", group), ["this one"]);
  await assert.rejects(ann.client.send(group, "x", { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("another client sends the pending frames once", async () => {
  const ann = await newUser();
  const group = await control("group", ann.id);
  const id = newId();
  const sent = ann.client.send(group, "carried over", { id, timestamp: 1_700_000_000 });
  const [frame] = ann.client.pending;
  assert.deepEqual([frame.message_id, frame.timestamp], [id, 1_700_000_000]);
  ann.client.connect();
  ann.client.close();
  const error = await sent.catch((reason) => reason);
  assert.ok(error instanceof ClosedError);
  assert.equal(error.code, 1000);
  const next = await newUser({ user: ann.id });
  await online(next.client);
  const answers = /** @type {Ack[]} */ (
    await Promise.all([next.client.resend(frame), next.client.resend(error.frame)])
  );
  assert.equal(answers[0].message_id, answers[1].message_id);
  assert.deepEqual(await control("history", group), ["carried over"]);
});

test("at most a thousand frames wait", async () => {
  const ann = await newUser();
  const sent = Array.from({ length: 1_001 }, () => ann.client.send("g", "x").catch((error) => error));
  assert.equal((await sent.at(-1)).code, 429);
  assert.equal(ann.client.pending.length, 1_000);
  ann.client.connect();
  ann.client.close();
  assert.equal((await sent[0]).name, "ClosedError");
});

// Tests of chatws.js with a real gateway: tokens that expire, are refused, or are unavailable.

import assert from "node:assert/strict";
import { test } from "node:test";

import { control, newUser, online, until } from "./support.js";

/** @import { User } from "./support.js" */

/**
 * Return the close code and the reason of the last change of the client's state.
 * @param {User} user
 */
function end(user) {
  const last = user.of("state").at(-1);
  return [last?.code, last?.reason];
}

test("a token is renewed on the same connection", async () => {
  const id = await control("user");
  /** @type {boolean[]} */
  const asked = [];
  const token = (/** @type {{ fresh: boolean }} */ { fresh }) => {
    asked.push(fresh);
    return control("token", id, 8);
  };
  const ann = await newUser({ user: id, token });
  await online(ann.client);
  await until(ann.client, () => ann.of("auth_success").length >= 3);
  assert.deepEqual(ann.states(), ["connecting", "online"]);
  assert.deepEqual(asked.slice(0, 3), [false, true, true]);
});

test("a failed renewal is tried again", async () => {
  const id = await control("user");
  let calls = 0;
  const token = async (/** @type {{ fresh: boolean }} */ { fresh }) => {
    calls += 1;
    if (fresh && calls === 2) throw new Error("the token service is away");
    return fresh && calls === 3 ? "not a token" : control("token", id, calls === 1 ? 24 : 600);
  };
  const ann = await newUser({ user: id, token });
  await online(ann.client);
  await until(ann.client, () => ann.of("auth_success").length === 2);
  assert.equal(calls, 4);
  assert.deepEqual(ann.states(), ["connecting", "online"]);
});

test("a token refused twice stops the client", async () => {
  /** @type {boolean[]} */
  const asked = [];
  const ann = await newUser({
    token: ({ fresh }) => {
      asked.push(fresh);
      return "not a token";
    },
  });
  ann.client.connect();
  await until(ann.client, () => ann.client.state === "stopped");
  assert.deepEqual(asked, [false, true]);
  assert.deepEqual(end(ann), [4401, "invalid"]);
});

test("a revoked token is replaced on reconnect", async () => {
  const id = await control("user");
  const ann = await newUser({ user: id, token: () => control("token", id) });
  await online(ann.client);
  const revoked = Date.now();
  await control("revoke", id);
  await until(ann.client, () => ann.of("ready").length === 2);
  const waiting = ann.of("state").find(({ state }) => state === "waiting");
  assert.deepEqual([waiting?.code, waiting?.reason], [4401, "revoked"]);
  assert.ok(Date.now() - revoked > 1_000, "a token of the second of the revocation is revoked too");
});

test("a failing token function is retried, null stops", async () => {
  const id = await control("user");
  let calls = 0;
  const ann = await newUser({
    user: id,
    token: () => {
      calls += 1;
      if (calls < 3) throw new Error("away");
      return control("token", id);
    },
  });
  await online(ann.client);
  assert.equal(calls, 3);
  assert.match(ann.of("state").find(({ state }) => state === "waiting")?.message ?? "", /away/);
  const ben = await newUser({ token: () => null });
  ben.client.connect();
  await until(ben.client, () => ben.client.state === "stopped");
  assert.deepEqual(end(ben), [4401, "missing"]);
});

test("an expired string token stops the client", async () => {
  const id = await control("user");
  const ann = await newUser({ user: id, token: await control("token", id, 8) });
  await online(ann.client);
  await until(ann.client, () => ann.client.state === "stopped");
  assert.deepEqual(end(ann), [4401, "token_expired"]);
});

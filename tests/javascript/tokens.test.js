// chatws.js against a real gateway: tokens that end, are refused, or can't be had.

import assert from "node:assert/strict";
import { test } from "node:test";

import { control, newUser, online, until } from "./support.js";

test("a fresh token is brought before the old one ends, and the connection stays", async () => {
  const id = await control("user");
  const asked = [];
  const token = ({ fresh }) => {
    asked.push(fresh);
    return control("token", id, 8);
  };
  const ann = await newUser({ user: id, token });
  await online(ann.client);
  await until(ann.client, () => ann.of("auth_success").length >= 3);
  assert.deepEqual(ann.states(), ["connecting", "online"]);
  assert.deepEqual(asked.slice(0, 3), [false, true, true]);
});

test("a fresh token that can't be had now is asked for again before the old one ends", async () => {
  const id = await control("user");
  let calls = 0;
  const token = async ({ fresh }) => {
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

test("a refused token is replaced once; refused again, it stops and says why", async () => {
  const asked = [];
  const ann = await newUser({ token: ({ fresh }) => asked.push(fresh) && "not a token" });
  ann.client.connect();
  await until(ann.client, () => ann.client.state === "stopped");
  assert.deepEqual(asked, [false, true]);
  const { code, reason } = ann.of("state").at(-1);
  assert.deepEqual([code, reason], [4401, "invalid"]);
});

test("revoked while connected: a fresh token opens the next connection", async () => {
  const id = await control("user");
  const ann = await newUser({ user: id, token: () => control("token", id) });
  await online(ann.client);
  const revoked = Date.now();
  await control("revoke", id);
  await until(ann.client, () => ann.of("ready").length === 2);
  const waiting = ann.of("state").find(({ state }) => state === "waiting");
  assert.deepEqual([waiting.code, waiting.reason], [4401, "revoked"]);
  assert.ok(Date.now() - revoked > 1_000, "a token of the second of the revocation is revoked too");
});

test("a provider that fails is asked again; one that has no token ends it", async () => {
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
  assert.match(ann.of("state").find(({ state }) => state === "waiting").message, /away/);
  const ben = await newUser({ token: () => null });
  ben.client.connect();
  await until(ben.client, () => ben.client.state === "stopped");
  assert.deepEqual([ben.of("state").at(-1).code, ben.of("state").at(-1).reason], [4401, "missing"]);
});

test("a token given as a string ends the client when it ends", async () => {
  const id = await control("user");
  const ann = await newUser({ user: id, token: await control("token", id, 8) });
  await online(ann.client);
  await until(ann.client, () => ann.client.state === "stopped");
  assert.deepEqual([ann.of("state").at(-1).code, ann.of("state").at(-1).reason], [4401, "token_expired"]);
});

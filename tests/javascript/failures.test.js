// Tests of chatws.js with what fails around it: token functions, sockets that can't be made, silent servers, listeners.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatClient } from "../../chatws/static/chatws/client/chatws.js";
import { Fake, faked, NOWHERE } from "./fake.js";
import { control, LOOK_MS, newUser, online, twoInAGroup, until, untilTrue } from "./support.js";

/**
 * Return the waits of the timers that were started, in milliseconds.
 * @param {{ calls: { arguments: any[] }[] }} timers
 */
const waits = (timers) => timers.calls.map(({ arguments: [, wait] }) => wait);

test("a token that never comes is asked for again", async () => {
  const id = await control("user");
  let calls = 0;
  const token = () => (++calls < 3 ? new Promise(() => {}) : control("token", id));
  const ann = await newUser({ user: id, token, tokenTimeout: 0.05 });
  await online(ann.client);
  assert.equal(calls, 3);
  const [waiting] = ann.of("state").filter(({ state }) => state === "waiting");
  assert.deepEqual([waiting.code, waiting.reason], [1006, "token"]);
  assert.equal(waiting.message, "no token: the token function did not answer within 0.05 s");
  assert.deepEqual(
    ann.of("error").map(({ code, reason, message }) => [code, reason, message]),
    [[1006, "token", waiting.message]],
    "told once",
  );
});

test("a renewal that never comes is tried again", async () => {
  const id = await control("user");
  let calls = 0;
  const token = () => {
    calls += 1;
    return calls === 2 ? new Promise(() => {}) : control("token", id, calls === 1 ? 12 : 600);
  };
  const ann = await newUser({ user: id, token, tokenTimeout: 0.05 });
  await online(ann.client);
  await until(ann.client, () => ann.of("auth_success").length === 2);
  assert.equal(calls, 3);
  assert.deepEqual(ann.states(), ["connecting", "online"]);
});

test("a token that isn't a string is asked for again", async () => {
  const id = await control("user");
  const answers = [{ detail: "down" }, 42, true];
  const token = () => /** @type {any} */ (answers.shift() ?? control("token", id));
  const ann = await newUser({ user: id, token });
  await online(ann.client);
  assert.deepEqual(
    ann.of("error").map(({ message }) => message),
    ["object", "number", "boolean"].map((type) => `no token: the token is a ${type}, not a string`),
  );
});

for (const nothing of [undefined, null, ""]) {
  test(`a token ${JSON.stringify(nothing)} stops the client`, async () => {
    const ann = await newUser({ user: 1, token: async () => nothing });
    ann.client.connect();
    await until(ann.client, () => ann.client.state === "stopped");
    assert.deepEqual(
      ann.of("state").map(({ code, reason }) => [code, reason]),
      [
        [undefined, undefined],
        [4401, "missing"],
      ],
    );
  });
}

test("a socket that can't be made is told and tried again", async () => {
  const id = await control("user");
  let refusals = 2;
  class Blocked extends WebSocket {
    /** @param {string | URL} url */
    constructor(url) {
      if (refusals-- > 0) throw new DOMException("an insecure connection from a secure page", "SecurityError");
      super(url);
    }
  }
  const ann = await newUser({ user: id, WebSocket: Blocked });
  await online(ann.client);
  assert.deepEqual(
    ann.of("error").map(({ code, reason }) => [code, reason]),
    [[1006, "socket"]],
  );
  assert.match(ann.of("error")[0].message, /^can't open ws:.*: an insecure connection from a secure page$/);
  assert.equal(ann.of("state").filter(({ state }) => state === "waiting").length, 2);
});

test("an address that is none stops the client", async () => {
  for (const url of ["localhost:8000/ws", "ws://[bad", "ftp://chat.example/ws", "wss://chat.example/ws#part"]) {
    const ann = await newUser({ user: 1, token: "t" }, url);
    const sent = assert.rejects(ann.client.send("g", "x"), { name: "ClosedError", code: 1006 });
    ann.client.connect();
    await until(ann.client, () => ann.client.state === "stopped");
    await sent;
    assert.deepEqual([ann.of("state").at(-1)?.code, ann.of("error")[0].reason], [1006, "address"]);
  }
});

test("an unreachable gateway is told after the first try", async () => {
  const url = await control("answering", 404);
  for (const address of [NOWHERE, url]) {
    const ann = await newUser({ user: 1, token: "t", firstWait: 0.001, longestWait: 0.002 }, address);
    ann.client.connect();
    await until(ann.client, () => ann.states().filter((state) => state === "waiting").length === 5);
    ann.client.close();
    const [{ code, reason, message }, ...more] = ann.of("error");
    assert.deepEqual([code, reason, more], [1006, "unreachable", []]);
    assert.match(message, /no connection; is the address right/);
    const [waiting] = ann.of("state").filter(({ state }) => state === "waiting");
    assert.deepEqual([waiting.reason, waiting.message], [reason, message]);
  }
});

test("a server that never answers auth is given up", async (context) => {
  const timers = context.mock.method(globalThis, "setTimeout").mock;
  const { client, of, socket } = await faked();
  const welcome = timers.calls.find(({ arguments: [, wait] }) => wait === 15_000);
  clearTimeout(welcome?.result);
  welcome?.arguments[0]();
  assert.equal(client.state, "waiting");
  assert.equal(socket.readyState, 3);
  const [error] = of("error");
  assert.deepEqual([error.reason, error.message], ["unreachable", `${NOWHERE}: the gateway does not answer`]);
});

for (const bad of ["null", "[]", "5", '"x"', "{", '{"type":null}', '{"data":{}}']) {
  test(`the frame ${bad} makes the client reconnect`, async () => {
    const { client, socket, of } = await faked();
    socket.welcome();
    assert.equal(client.state, "online");
    socket.receive(bad);
    assert.equal(client.state, "waiting");
    assert.match(of("state").at(-1)?.message ?? "", /not a frame/);
  });
}

test("odd values in frames cost nothing", async (context) => {
  const timers = context.mock.method(globalThis, "setTimeout").mock;
  const { client, socket } = await faked();
  socket.welcome({ heartbeat_seconds: 0, expires_at: "soon", feeds: null });
  socket.receive({ type: "presence", message_id: "", data: null });
  socket.receive({ type: "error", message_id: "", data: { code: 429, retry_after: "much" } });
  const sent = client.send("g", "x").catch(() => {});
  const { message_id: id } = socket.sent.at(-1);
  socket.receive({ type: "error", message_id: id, timestamp: 1, data: { code: 429, message: "", retry_after: 1e12 } });
  assert.equal(client.state, "online");
  assert.ok(waits(timers).every((wait) => wait === undefined || (wait >= 0 && wait <= 86_400_000)));
  assert.ok(waits(timers).includes(25_000), "the heartbeat's default");
  client.close();
  await sent;
});

test("a listener that throws stops nothing", async (context) => {
  /** @type {unknown[]} */
  const reported = [];
  const start = setTimeout;
  context.mock.method(globalThis, "setTimeout", (/** @type {() => void} */ act, /** @type {number} */ wait) => {
    const report = () => {
      try {
        act();
      } catch (error) {
        reported.push(error); // the program's uncaught error
      }
    };
    return start(report, wait);
  });
  const { ann, ben, group } = await twoInAGroup();
  /** @type {string[]} */
  const received = [];
  const mistake = new Error("an application's mistake");
  const fail = () => {
    throw mistake;
  };
  ann.client.listen("new_message", fail);
  ann.client.listen("state", fail);
  ann.client.listen("new_message", ({ content }) => received.push(content));
  await ben.client.send(group, "one");
  await until(ann.client, () => received.length === 1);
  await control("reset");
  await ben.client.send(group, "two");
  await until(ann.client, () => received.length === 2);
  await untilTrue(() => reported.length >= 4);
  assert.deepEqual(received, ["one", "two"]);
  assert.ok(reported.every((error) => error === mistake));
});

for (const state of /** @type {const} */ (["connecting", "online", "waiting"])) {
  test(`close in a listener for ${state} is final`, async (context) => {
    const timers = context.mock.method(globalThis, "setTimeout").mock;
    const cleared = context.mock.method(globalThis, "clearTimeout").mock;
    const user = await newUser({ user: 1, token: "t", WebSocket: /** @type {any} */ (Fake) }, NOWHERE);
    const { client, of } = user;
    client.listen("state", (detail) => detail.state === state && client.close());
    const made = Fake.made.length;
    client.connect();
    if (state !== "connecting") {
      await untilTrue(() => Fake.made.length > made);
      if (state === "online") Fake.made.at(-1)?.welcome({ heartbeat_seconds: 20, feeds: [] });
      else Fake.made.at(-1)?.onclose?.({ code: 1006 });
    }
    assert.equal(client.state, "stopped");
    assert.deepEqual(of("ready"), []);
    const ended = new Set(cleared.calls.map(({ arguments: [timer] }) => timer));
    const running = timers.calls.filter(
      ({ arguments: [, wait = 0], result }) => wait >= 1 && wait !== LOOK_MS && !ended.has(result),
    );
    assert.deepEqual(running, [], "no timer is left");
    assert.ok(Fake.made.length <= made + 1);
  });
}

test("hurry in a loop is no storm", async () => {
  const ann = await newUser({ user: 1, token: "t", firstWait: 0.001, longestWait: 1_000 }, NOWHERE);
  let tries = 0;
  ann.client.listen("state", ({ state }) => {
    if (state === "connecting") tries += 1;
    if (state === "waiting") for (let count = 0; count < 100; count += 1) ann.client.hurry();
  });
  ann.client.connect();
  await until(ann.client, () => tries >= 4);
  const [first, , , fourth] = ann.of("state").filter(({ state }) => state === "connecting");
  assert.ok(tries < 50, String(tries));
  assert.ok(fourth.at >= first.at);
  const { client, socket } = await faked();
  socket.welcome();
  for (let count = 0; count < 100; count += 1) client.hurry();
  assert.equal(socket.sent.filter(({ type }) => type === "ping").length, 1);
});

test("what waits is bounded in number and in bytes", async () => {
  const client = new ChatClient(NOWHERE, { token: "t" });
  const sends = Array.from({ length: 1_001 }, () => client.send("g", "x"));
  await assert.rejects(/** @type {Promise<any>} */ (sends.pop()), { name: "RefusedError", code: 429 });
  const other = new ChatClient(NOWHERE, { token: "t" });
  const large = Array.from({ length: 11 }, () => other.send("g", "x".repeat(800_000)));
  const full = await Promise.race(large.map((one) => one.catch((error) => error)));
  assert.deepEqual([full.name, full.code, other.pending.length], ["RefusedError", 429, 9]);
  for (const one of [client, other]) {
    one.connect();
    one.close();
  }
  await Promise.allSettled([...sends, ...large]);
});

test("a frame that can't be encoded harms no other", async () => {
  const { ann, group } = await twoInAGroup();
  await assert.rejects(ann.client.request("odd", { limit: 5n }), TypeError);
  await assert.rejects(ann.client.resend(/** @type {any} */ (null)), TypeError);
  assert.deepEqual(ann.client.pending, []);
  assert.ok((await ann.client.send(group, "after it")).success);
});

test("positions that can't be read are ignored", async () => {
  const odd = {
    a: null,
    b: 5,
    c: { epoch: 1, offset: 1 },
    d: { epoch: "e", offset: -0.5 },
    e: { epoch: "e", offset: 3 },
  };
  for (const positions of [null, odd, "text", []]) {
    const client = new ChatClient(NOWHERE, { token: "t", positions: /** @type {any} */ (positions) });
    assert.deepEqual(client.positions, positions === odd ? { e: { epoch: "e", offset: 3 } } : {});
  }
});

test("positions of groups that were left are bounded", async () => {
  const positions = Object.fromEntries(
    Array.from({ length: 3_000 }, (_, n) => [`group:${n}`, { epoch: "e", offset: n + 1 }]),
  );
  const { client, socket } = await faked({ positions });
  const feeds = [0, 1, 2].map((n) => ({ feed: `group:${n}`, epoch: "e", offset: n + 1, recovered: true }));
  socket.welcome({ feeds });
  const kept = Object.keys(client.positions);
  assert.equal(kept.length, 1_003);
  assert.deepEqual(kept.slice(0, 4), ["group:0", "group:1", "group:2", "group:2000"]);
});

for (const years of [10, -10]) {
  test(`a clock that jumps by ${years} years changes no timer`, async (context) => {
    context.mock.method(Math, "random", () => 0);
    const { client, socket, of } = await faked({ token: async () => "t" });
    const timers = context.mock.method(globalThis, "setTimeout").mock;
    socket.welcome({ expires_at: 1600, heartbeat_seconds: 20 });
    socket.receive({ type: "shutdown", message_id: "", timestamp: 1, data: { retry_after: 100 } });
    const jumped = Date.now() + years * 365 * 86_400_000;
    context.mock.method(Date, "now", () => jumped);
    socket.welcome({ expires_at: 1600 });
    const renewals = waits(timers).filter((wait) => wait > 400_000);
    assert.equal(renewals.length, 2);
    assert.ok(renewals.every((wait) => wait > 530_000 && wait <= 540_000)); // a minute before 600 s
    const beat = timers.calls.find(({ arguments: [, wait] }) => wait === 20_000);
    assert.ok(beat);
    socket.onclose?.({ code: 4501 });
    const retry = waits(timers).at(-1) ?? 0;
    assert.ok(retry > 90_000 && retry <= 100_000, `waits ${retry} ms`);
    assert.equal(client.state, "waiting");
    assert.deepEqual(of("error"), []);
  });
}

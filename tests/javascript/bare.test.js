// Tests of chatws.js where the globals of browsers are missing, as in React Native: only timers and WebSocket exist.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import vm from "node:vm";

import { parseJson } from "../../chatws/static/chatws/client/chatws.js";
import { control, URL as gateway } from "./support.js";

const MODULE = new URL("../../chatws/static/chatws/client/chatws.js", import.meta.url);

/** Return what chatws.js exports where only the language, timers and WebSocket exist. */
async function bare() {
  const source = (await readFile(MODULE, "utf8")).replaceAll(/^export /gm, "");
  const context = vm.createContext({ setTimeout, clearTimeout, WebSocket });
  const missing = [
    "Event",
    "EventTarget",
    "AbortController",
    "URL",
    "crypto",
    "performance",
    "document",
    "DOMException",
  ];
  for (const name of missing) assert.equal(vm.runInContext(`typeof ${name}`, context), "undefined", name);
  return vm.runInContext(`${source}; ({ ChatClient, RefusedError, newId })`, context);
}

test("no global of a browser is needed", async () => {
  const { ChatClient, RefusedError, newId } = await bare();
  assert.equal(new Set(Array.from({ length: 100 }, newId)).size, 100);
  assert.match(newId(), /^\d+-\d+-\d+-\d+$/);
  const id = await control("user");
  const group = await control("group", id);
  const client = new ChatClient(gateway, { token: () => control("token", id), firstWait: 0.05 });
  /** @type {string[]} */
  const received = [];
  const both = new Promise((resolve) =>
    client.listen(
      "new_message",
      (/** @type {{ content: string }} */ { content }) => received.push(content) === 2 && resolve(null),
    ),
  );
  client.connect();
  await client.send(group, "one");
  await control("reset");
  client.hurry();
  await client.send(group, "two");
  await both;
  assert.deepEqual(received, ["one", "two"]);
  await assert.rejects(client.send("not-mine", "x"), (error) => error instanceof RefusedError);
  client.close();
  assert.equal(client.state, "stopped");
  assert.throws(() => new ChatClient("/ws", { token: "t" }), { name: "ReferenceError" });
});

test("parseJson keeps integers exact, and all else as it is", () => {
  const text = String.raw`{"id":18446744073709551615,"list":[9007199254740993,1,-5,1.5e3,0.50000000000000000],
    "text":"18446744073709551615 \" 9007199254740993 \\","9007199254740993":true,"n":null}`;
  assert.deepEqual(parseJson(text), {
    id: "18446744073709551615",
    list: ["9007199254740993", 1, -5, 1500, 0.5],
    text: '18446744073709551615 " 9007199254740993 \\',
    "9007199254740993": true,
    n: null,
  });
  assert.equal(parseJson("9007199254740991"), Number.MAX_SAFE_INTEGER);
  const long = JSON.stringify({ text: 'x"\\'.repeat(1_000_000), id: 1 }).replace("1}", "9007199254740993}");
  assert.equal(/** @type {any} */ (parseJson(long)).id, "9007199254740993");
  assert.throws(() => parseJson('{"id":9007199254740993,"open":"'), SyntaxError);
});

// history.js: paging loses no message and shows none twice, whether a service goes by messages or by whole seconds.

import assert from "node:assert/strict";
import { test } from "node:test";

import { messagesBefore } from "../../chatws/static/chatws/client/history.js";

/** A client before a history whose messages were said in these seconds, the oldest first. */
function client(seconds, bySecond) {
  const all = seconds.map((created_at, n) => ({ message_id: `m${n}`, created_at }));
  return {
    async history(_group, { before, limit }) {
      const place = all.findIndex((message) => message.message_id === before);
      const older = all.filter(
        (message, n) => place < 0 || (bySecond ? message.created_at < all[place].created_at : n < place),
      );
      return { messages: older.reverse().slice(0, limit), has_more: older.length > limit };
    },
  };
}

const HISTORIES = {
  "a message a second": Array.from({ length: 130 }, (_, n) => n),
  "three a second": Array.from({ length: 130 }, (_, n) => Math.floor(n / 3)),
  "forty a second": Array.from({ length: 200 }, (_, n) => Math.floor(n / 40)),
  "seventy in one second": Array(70).fill(5),
  nothing: [],
};

test("by message, with times in any order", async () => {
  const asked = client(
    Array.from({ length: 130 }, (_, n) => (n * 37) % 100),
    false,
  );
  const known = [];
  for (let more = true; more; ) {
    const page = await messagesBefore(asked, "g", known, { limit: 50 });
    known.push(...page.messages);
    more = page.has_more;
  }
  assert.deepEqual(
    known.map((message) => message.message_id),
    Array.from({ length: 130 }, (_, n) => `m${129 - n}`),
  );
});

for (const [name, seconds] of Object.entries(HISTORIES)) {
  for (const bySecond of [false, true]) {
    test(`${name}, ${bySecond ? "by second" : "by message"}`, async () => {
      const asked = client(seconds, bySecond);
      const known = [];
      for (let more = true; more; ) {
        const page = await messagesBefore(asked, "g", known, { limit: 50 });
        known.push(...page.messages);
        more = page.has_more;
      }
      assert.deepEqual(
        known.map((message) => message.message_id),
        seconds.map((_, n) => `m${n}`).reverse(),
      );
    });
  }
}

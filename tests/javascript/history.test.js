// Tests of history.js: the pages contain each message once, whether a service answers by messages or by whole seconds.

import assert from "node:assert/strict";
import { test } from "node:test";

import { messagesBefore } from "../../chatws/static/chatws/client/history.js";

/** @import { ChatClient, Message } from "../../chatws/static/chatws/client/chatws.js" */

/**
 * Make a client of a service with messages of these times, in seconds, oldest first.
 * @param {number[]} seconds @param {boolean} bySecond
 * @returns {Pick<ChatClient, "history">}
 */
function client(seconds, bySecond) {
  const all = seconds.map((created_at, n) => /** @type {Message} */ ({ message_id: `m${n}`, created_at }));
  return {
    async history(group_id, { before, limit = 50 } = {}) {
      const place = all.findIndex((message) => message.message_id === before);
      const older = all.filter(
        (message, n) => place < 0 || (bySecond ? message.created_at < all[place].created_at : n < place),
      );
      return { group_id, messages: older.reverse().slice(0, limit), has_more: older.length > limit };
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

test("by message, with unordered times", async () => {
  const asked = client(
    Array.from({ length: 130 }, (_, n) => (n * 37) % 100),
    false,
  );
  /** @type {Message[]} */
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
      /** @type {Message[]} */
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

// Tests of the chat page's modules that need no page: days, messages of a room, what is kept on the device.

import assert from "node:assert/strict";
import { test } from "node:test";

import { clock, dayName, dayOf, shortTime } from "../../chatws/static/chatws/page/i18n.js";
import { isMessage, Room, received } from "../../chatws/static/chatws/page/room.js";
import { Shelf } from "../../chatws/static/chatws/page/storage.js";
import "./support.js"; // ends the connection to pytest

/** @param {string} text */
const at = (text) => new Date(text).getTime() / 1000;

for (const [zone, now, yesterday, before] of [
  ["Europe/Berlin", "2026-10-25T23:30:00+01:00", "2026-10-24T12:00:00+02:00", "2026-10-23T12:00:00+02:00"],
  ["Europe/Berlin", "2026-10-26T00:30:00+01:00", "2026-10-25T00:10:00+02:00", "2026-10-24T23:50:00+02:00"],
  ["Europe/Berlin", "2026-03-30T00:30:00+02:00", "2026-03-29T00:10:00+01:00", "2026-03-28T23:59:00+01:00"],
  ["America/New_York", "2026-03-09T00:30:00-04:00", "2026-03-08T01:00:00-05:00", "2026-03-07T12:00:00-05:00"],
  ["Pacific/Apia", "2011-12-31T12:00:00+14:00", "2011-12-29T12:00:00-10:00", "2011-12-28T12:00:00-10:00"],
]) {
  test(`yesterday in ${zone} at ${now}`, (context) => {
    const before_ = process.env.TZ;
    process.env.TZ = zone;
    try {
      context.mock.timers.enable({ apis: ["Date"], now: new Date(now) });
      assert.equal(dayName(at(now)), "Today");
      // Apia had no 30 December 2011: its calendar's yesterday is a day that nobody had
      assert.equal(dayName(at(yesterday)), zone === "Pacific/Apia" ? "Thursday, December 29" : "Yesterday");
      assert.doesNotMatch(dayName(at(before)), /day$/);
      assert.notEqual(dayOf(at(before)), dayOf(at(yesterday)));
    } finally {
      if (before_ === undefined) delete process.env.TZ;
      else process.env.TZ = before_;
    }
  });
}

const ODD_TIMES = [
  1.7e15,
  1.7e18,
  -1e20,
  1e300,
  Number.NaN,
  Infinity,
  undefined,
  null,
  "1700000000",
  "soon",
  {},
  [],
  true,
];

test("an odd time is drawn as some time", () => {
  for (const time of /** @type {any[]} */ (ODD_TIMES)) {
    for (const words of [clock(time), dayOf(time), dayName(time), shortTime(time)]) assert.match(words, /\d/);
    const { at: seconds } = received(/** @type {any} */ ({ message_id: "m", group_id: "g", created_at: time }));
    assert.ok(!Number.isNaN(new Date(seconds * 1000).getTime()), String(time));
  }
});

test("a message with odd values hides no other", () => {
  const odd = [
    null,
    5,
    "text",
    {},
    { message_id: "no group" },
    { message_id: 5, group_id: "g" },
    { message_id: "a", group_id: "g" },
    { message_id: "b", group_id: "g", sender_id: null, content: null, msg_type: 99, created_at: 1.7e15 },
    { message_id: "c", group_id: "g", sender_name: 5, content: { a: 1 }, image_url: [], sender_avatar: null },
  ];
  const found = /** @type {any[]} */ (odd).filter(isMessage).map(received);
  assert.deepEqual(
    found.map(({ id, type, text, name, image, state }) => [id, type, text, name, image, state]),
    ["a", "b", "c"].map((id) => [id, 1, "", "", "", "sent"]),
  );
  const room = new Room("g");
  room.renew(found, false, new Set());
  assert.equal(room.messages.length, 3);
});

test("storage that refuses is replaced by memory", () => {
  const refuse = () => {
    throw new DOMException("no", "SecurityError");
  };
  const full = { getItem: () => null, setItem: refuse, removeItem: () => {} };
  for (const browsers of [refuse, () => null, () => /** @type {any} */ (full), () => /** @type {any} */ (undefined)]) {
    const shelf = new Shelf(browsers);
    assert.equal(shelf.get("a"), null);
    shelf.set("a", { b: 1 });
    assert.deepEqual(shelf.get("a"), { b: 1 });
    shelf.remove("a");
    assert.equal(shelf.get("a"), null);
  }
  const corrupt = new Shelf(() => /** @type {any} */ ({ getItem: () => "{" }));
  assert.equal(corrupt.get("a"), null);
});

// The list of chat groups: last message, time, number of unread messages. The time of the last message that was read is
// kept on this device, for chat services that keep no read cursors.

import { STORE } from "./api.js";
import { $, avatar, buttonOf, h } from "./dom.js";
import { clamped, shortTime, t } from "./i18n.js";
import { device } from "./storage.js";

/** @import { GroupData } from "./api.js" */
/** @import { Message } from "./room.js" */

/** @typedef {Message & { isUnread: boolean }} Live a message that arrived while the page was open */
/** @typedef {{ at: number, text?: string, image?: string }} Newest the newest message when the service counted */

/**
 * A chat group in the list. Times are Unix seconds.
 * @typedef {object} Group
 * @property {string} id
 * @property {string} name
 * @property {string} cover URL of its picture
 * @property {number} members how many
 * @property {string} last text of the last message
 * @property {string} [from] name of its sender
 * @property {number} at its time
 * @property {number} unread how many
 * @property {Newest & { hasCome?: boolean }} counted `hasCome`: it arrived live too
 * @property {Live[]} live the live messages since then, and that one if it arrived live
 */

const IMAGE_URL = /^https?:\/\/\S+\.(avif|gif|jpe?g|png|svg|webp)$/i; // the list doesn't tell texts from images
const YEAR_9999_SECONDS = 253_402_300_799;
const MAX_LIVE_MESSAGES = 100; // kept for each group to compare with what the service counts
const MAX_SHOWN_COUNT = 99;

export class Groups {
  /** @type {Map<string, Group>} */
  #groups = new Map();
  /** @type {Map<string, Live[]>} */
  #early = new Map(); // by group: messages that arrived before the group was in the list
  #store = "";
  /** @type {Record<string, number>} */
  #read = {}; // by group: time of the last message that was read
  /** @type {string | null} */
  current = null;

  /** @param {{ onOpen: (id: string) => void }} callbacks */
  constructor({ onOpen }) {
    $("groups").addEventListener("click", (event) => {
      const button = /** @type {Element} */ (event.target).closest("button[data-id]");
      const id = button?.getAttribute("data-id");
      if (id) onOpen(id);
    });
    $("groups").addEventListener("keydown", (event) => {
      const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
      if (!step) return;
      event.preventDefault();
      const buttons = [...$("groups").querySelectorAll("button")];
      const focused = /** @type {HTMLButtonElement} */ (document.activeElement);
      buttons[buttons.indexOf(focused) + step]?.focus();
    });
    addEventListener("storage", ({ key }) => {
      if (key !== this.#store || !key) return;
      this.#load();
      for (const group of this.#groups.values()) if (group.at <= this.#read[group.id]) markRead(group);
      this.render();
    });
  }

  /** @param {string} id */
  get(id) {
    return this.#groups.get(id);
  }

  get unread() {
    return [...this.#groups.values()].reduce((sum, group) => sum + group.unread, 0);
  }

  /** @param {string} userId */
  begin(userId) {
    this.#store = `${STORE}:read:${userId}`;
    this.#load();
  }

  clear() {
    this.#groups.clear();
    this.#early.clear();
    this.#store = "";
    this.current = null;
    this.render();
  }

  /**
   * Take the list of the chat service. Return the groups in which messages after `readAt` may be unread.
   * @param {GroupData[]} found
   */
  set(found) {
    const before = this.#groups;
    this.#groups = new Map();
    const early = this.#early;
    this.#early = new Map();
    const open = [];
    for (const data of found) {
      const old = before.get(data.group_id);
      /** @type {Group} */
      const group = {
        id: data.group_id,
        name: String(data.name ?? ""),
        cover: data.cover_url,
        members: data.member_count,
        last: String(data.last_message ?? ""),
        from: String(data.last_sender_name ?? ""),
        at: orderly(data.last_message_at),
        unread: old?.unread ?? 0,
        counted: old?.counted ?? { at: 0 },
        live: old?.live ?? early.get(data.group_id) ?? [],
      };
      this.#groups.set(group.id, group);
      const newest = { at: group.at, text: group.last };
      this.#read[group.id] ??= group.at;
      const readAt = this.#read[group.id];
      if (typeof data.unread_count === "number") this.count(group, data.unread_count, newest);
      else if (group.at > readAt) open.push({ group, readAt });
      else this.count(group, 0, newest);
    }
    this.#save();
    this.render();
    return open;
  }

  /**
   * Take the number of unread messages at the time when `newest` was the last one. Live messages after it are added.
   * @param {Group} group @param {number} unread @param {Newest} [newest]
   */
  count(group, unread, { at, text, image } = { at: 0 }) {
    const counted = { at, text, image };
    const place = group.live.findLastIndex((message) => isSame(message, counted));
    const after = place >= 0 ? group.live.slice(place + 1) : group.live.filter((message) => message.at > at);
    // If `newest` didn't arrive live: it is older than a live message of the same second, or will arrive after it.
    const last = place >= 0 ? after.at(-1) : group.live.findLast((message) => message.at >= at);
    group.counted = { ...counted, hasCome: place >= 0 };
    group.live = place >= 0 ? group.live.slice(place) : after;
    group.unread = unread + after.filter(({ isUnread }) => isUnread).length;
    if (last) Object.assign(group, asLast(last));
  }

  /** @param {string} id */
  delete(id) {
    this.#groups.delete(id);
    this.render();
  }

  /**
   * Take a live message.
   * @param {string} id @param {Message} arrived @param {boolean} isRead it is on the screen, or the user's own
   */
  arrived(id, arrived, isRead) {
    const message = { ...arrived, at: orderly(arrived.at) };
    const group = this.#groups.get(id);
    if (!group) {
      this.#early.set(
        id,
        [...(this.#early.get(id) ?? []), { ...message, isUnread: !isRead }].slice(-MAX_LIVE_MESSAGES),
      );
      return;
    }
    Object.assign(group, asLast(message));
    const { counted } = group;
    const isCounted = message.at < counted.at || (message.at === counted.at && !counted.hasCome);
    counted.hasCome ||= isSame(message, counted);
    const isUnread = !isRead && !isCounted;
    group.live = [...group.live, { ...message, isUnread }].slice(-MAX_LIVE_MESSAGES);
    if (isUnread) group.unread += 1;
    if (isRead) this.#read[id] = Math.max(this.#read[id] ?? 0, message.at);
    this.#save();
    this.render();
  }

  /**
   * Mark all messages of a group as read.
   * @param {string} id
   */
  seen(id) {
    const group = this.#groups.get(id);
    if (!group || (group.unread === 0 && this.#read[id] >= group.at)) return;
    markRead(group);
    this.#read[id] = group.at;
    this.#save();
    this.render();
  }

  render() {
    const sorted = [...this.#groups.values()].sort(
      (one, other) => other.at - one.at || one.name.localeCompare(other.name),
    );
    const focused = document.activeElement?.getAttribute("data-id");
    $("groups").replaceChildren(...sorted.map((group) => this.#row(group)));
    $("no-groups").hidden = sorted.length > 0;
    if (focused) buttonOf($("groups"), focused)?.focus();
    const { unread } = this;
    document.title = unread > 0 ? `(${unread}) ${t("chat")}` : t("chat");
  }

  /** @param {Group} group */
  #row(group) {
    const said = IMAGE_URL.test(group.last) ? t("image") : group.last;
    const last = said && group.from ? `${group.from}: ${said}` : said;
    const button = h(
      "button.group",
      { type: "button" },
      avatar(group.id, group.name, group.cover),
      h("span.name", {}, group.name),
      h("span.when", {}, group.at ? shortTime(group.at) : ""),
      h("span.last", {}, last || ""),
    );
    button.dataset.id = group.id;
    if (group.unread > 0) {
      const words = h("span.sr", {}, ` ${t("unread", { n: group.unread })}`);
      button.append(
        h(
          "span.unread",
          {},
          h(
            "span",
            { "aria-hidden": "true" },
            group.unread > MAX_SHOWN_COUNT ? `${MAX_SHOWN_COUNT}+` : String(group.unread),
          ),
          words,
        ),
      );
    }
    if (group.id === this.current) button.setAttribute("aria-current", "true");
    return h("li", {}, button);
  }

  #load() {
    this.#read = { ...device.get(this.#store) };
  }

  #save() {
    if (this.#store) device.set(this.#store, this.#read);
  }
}

/**
 * Return a time to sort and to compare by; 0 for one beyond the year 9999, such as microseconds: as the time of the last
 * message that was read, it would hide all later ones.
 * @param {unknown} seconds
 */
function orderly(seconds) {
  const at = clamped(seconds);
  return at > YEAR_9999_SECONDS ? 0 : at;
}

/** @param {Message} message */
function asLast({ text, type, name, at }) {
  return { last: text || (type === 2 ? t("image") : ""), from: name, at };
}

/** @param {Group} group */
function markRead(group) {
  group.unread = 0;
  for (const message of group.live) message.isUnread = false;
}

/**
 * Return whether a message is the newest one. The service's list of groups has no ids.
 * @param {Newest} message @param {Newest} newest
 */
function isSame({ at, text, image }, newest) {
  return at === newest.at && (text || image || "") === (newest.text || newest.image || "");
}

// The list of chat groups: last message, time, what is unread. Which messages were read is kept on this device, for
// chat services that keep no read cursors.

import { $, avatar, h } from "./dom.js";
import { shortTime, t } from "./i18n.js";

const ADDRESS_OF_IMAGE = /^https?:\/\/\S+\.(avif|gif|jpe?g|png|svg|webp)$/i; // the list doesn't say what kind it was
const MOST_HEARD = 100; // live messages that are compared with what the service counts

export class Groups {
  #groups = new Map(); // id → {id, name, cover, members, last, from, at, unread, counted, heard}
  #early = new Map(); // group id → what came before the group was in the list
  #store = "";
  #read = {}; // group id → time of the last message that was read
  current = null;

  constructor({ onOpen }) {
    $("groups").addEventListener("click", (event) => {
      const button = event.target.closest("button[data-id]");
      if (button) onOpen(button.dataset.id);
    });
    $("groups").addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const buttons = [...$("groups").querySelectorAll("button")];
      buttons[buttons.indexOf(document.activeElement) + step]?.focus();
    });
    addEventListener("storage", ({ key }) => {
      if (key !== this.#store || !key) return;
      this.#load();
      for (const group of this.#groups.values()) if (group.at <= this.#read[group.id]) markRead(group);
      this.render();
    });
  }

  get(id) {
    return this.#groups.get(id);
  }

  get unread() {
    return [...this.#groups.values()].reduce((sum, group) => sum + group.unread, 0);
  }

  begin(userId) {
    this.#store = `chatws:read:${userId}`;
    this.#load();
  }

  clear() {
    this.#groups.clear();
    this.#early.clear();
    this.#store = "";
    this.current = null;
    this.render();
  }

  /** What the chat service says now. Returns the groups in which something may be unread, and from when. */
  set(found) {
    const before = this.#groups;
    this.#groups = new Map();
    const early = this.#early;
    this.#early = new Map();
    const open = [];
    for (const data of found) {
      const old = before.get(data.group_id);
      const group = {
        id: data.group_id,
        name: data.name,
        cover: data.cover_url,
        members: data.member_count,
        last: data.last_message,
        from: data.last_sender_name,
        at: Number(data.last_message_at),
        unread: old?.unread ?? 0,
        counted: old?.counted ?? { at: 0 },
        heard: old?.heard ?? early.get(data.group_id) ?? [],
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

  /** So many were unread when `newest` was the last message; what has come live after it is on top of that. */
  count(group, unread, { at, text, image } = { at: 0 }) {
    const counted = { at, text, image };
    const place = group.heard.findLastIndex((message) => isSame(message, counted));
    const after = place >= 0 ? group.heard.slice(place + 1) : group.heard.filter((message) => message.at > at);
    // Of one second, and `newest` not heard: either it is older than what was, or it is about to come.
    const last = place >= 0 ? after.at(-1) : group.heard.findLast((message) => message.at >= at);
    group.counted = { ...counted, hasCome: place >= 0 };
    group.heard = place >= 0 ? group.heard.slice(place) : after;
    group.unread = unread + after.filter(({ isUnread }) => isUnread).length;
    if (last) Object.assign(group, asLast(last));
  }

  delete(id) {
    this.#groups.delete(id);
    this.render();
  }

  /** A message came in. `isRead`: it is on the screen, or the user's own. */
  came(id, message, isRead) {
    const group = this.#groups.get(id);
    if (!group) {
      this.#early.set(id, [...(this.#early.get(id) ?? []), { ...message, isUnread: !isRead }].slice(-MOST_HEARD));
      return;
    }
    Object.assign(group, asLast(message));
    const { counted } = group;
    const isCounted = message.at < counted.at || (message.at === counted.at && !counted.hasCome);
    counted.hasCome ||= isSame(message, counted);
    const isUnread = !isRead && !isCounted;
    group.heard = [...group.heard, { ...message, isUnread }].slice(-MOST_HEARD);
    if (isUnread) group.unread += 1;
    if (isRead) this.#read[id] = Math.max(this.#read[id] ?? 0, message.at);
    this.#save();
    this.render();
  }

  /** All of a group was read. */
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
    const focused = document.activeElement?.dataset?.id;
    $("groups").replaceChildren(...sorted.map((group) => this.#row(group)));
    $("no-groups").hidden = sorted.length > 0;
    if (focused)
      $("groups")
        .querySelector(`button[data-id="${CSS.escape(focused)}"]`)
        ?.focus();
    const { unread } = this;
    document.title = unread > 0 ? `(${unread}) ${t("chat")}` : t("chat");
  }

  #row(group) {
    const said = ADDRESS_OF_IMAGE.test(group.last) ? t("image") : group.last;
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
          h("span", { "aria-hidden": "true" }, group.unread > 99 ? "99+" : String(group.unread)),
          words,
        ),
      );
    }
    if (group.id === this.current) button.setAttribute("aria-current", "true");
    return h("li", {}, button);
  }

  #load() {
    this.#read = JSON.parse(localStorage.getItem(this.#store) ?? "{}");
  }

  #save() {
    if (this.#store) localStorage.setItem(this.#store, JSON.stringify(this.#read));
  }
}

function asLast({ text, type, name, at }) {
  return { last: text || (type === 2 ? t("image") : ""), from: name, at };
}

function markRead(group) {
  group.unread = 0;
  for (const message of group.heard) message.isUnread = false;
}

/** Whether it is the message that was the newest; the service's list of groups gives no ids. */
function isSame({ at, text, image }, newest) {
  return at === newest.at && (text || image || "") === (newest.text || newest.image || "");
}

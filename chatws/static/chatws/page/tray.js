// The notifications: those that are stored, over HTTP, and those that arrive while the page is open.

import * as api from "./api.js";
import { $, announce, buttonOf, h } from "./dom.js";
import { clamped, shortTime, t } from "./i18n.js";

/** @import { ChatEvents } from "../client/chatws.js" */

/**
 * A notification. `at` is Unix seconds; `isLive`: it arrived while the page was open.
 * @typedef {{ id: string, title: string, content: string, at: number, isRead: boolean, isLive?: boolean }} Item
 */

const NOT_STORED = [400, 404, 405, 501]; // answers of a chat service that stores no notifications
const MAX_SHOWN_COUNT = 99;

export class Tray {
  /** @type {Item[]} */
  #items = []; // newest first
  #unread = 0;
  /** @type {string | null} */
  #userId = null;
  #others = otherTabs();
  #marked = 0; // how often something was marked as read
  #stored = true; // whether the chat service stores them

  constructor() {
    $("tray").addEventListener("toggle", ({ newState }) => {
      $("bell").setAttribute("aria-expanded", String(newState === "open"));
      if (newState === "open") this.load();
    });
    this.#others?.addEventListener("message", ({ data }) => data.userId === this.#userId && this.#mark(data.ids));
    $("read-all").addEventListener("click", () => this.#tell(null));
  }

  /** Ask for the newest notifications. The default is the user of the last call. */
  async load(userId = this.#userId) {
    this.#userId = userId;
    if (!userId) return;
    const marked = this.#marked;
    try {
      const found = await api.notifications(userId);
      if (userId !== this.#userId || marked !== this.#marked) return;
      this.#stored = true;
      const items = found.notifications.map((item) => ({
        id: item.notification_id,
        title: String(item.title ?? ""),
        content: String(item.content ?? ""),
        at: clamped(item.created_at),
        isRead: item.is_read,
      }));
      const live = this.#items.filter((item) => item.isLive && isMissing(item, items));
      this.#unread = (found.unread_count ?? 0) + live.filter(({ isRead }) => !isRead).length;
      this.#items = [...live, ...items];
    } catch (error) {
      this.#stored = !(error instanceof api.Refused && NOT_STORED.includes(error.status));
    }
    this.render();
  }

  /**
   * Add a notification that arrived.
   * @param {ChatEvents["notification"]} data @param {number} at
   */
  arrived({ notification_id: id, title, content }, at) {
    if (this.#items.some((item) => item.id === id)) return;
    this.#items.unshift({
      id,
      title: String(title ?? ""),
      content: String(content ?? ""),
      at: clamped(at),
      isRead: false,
      isLive: true,
    });
    this.#unread += 1;
    announce(`${t("notifications")}: ${title}`);
    this.render();
  }

  clear() {
    this.#items = [];
    this.#unread = 0;
    this.#userId = null;
    $("tray").hidePopover();
    this.render();
  }

  render() {
    $("bell-count").hidden = this.#unread === 0;
    $("bell-count").textContent = this.#unread > MAX_SHOWN_COUNT ? `${MAX_SHOWN_COUNT}+` : String(this.#unread);
    $("bell").setAttribute(
      "aria-label",
      this.#unread ? `${t("notifications")}, ${t("unread", { n: this.#unread })}` : t("notifications"),
    );
    $("read-all").hidden = this.#unread === 0;
    $("only-live").hidden = this.#stored;
    $("no-notifications").hidden = this.#items.length > 0;
    const focused = document.activeElement?.closest("#notifications button")?.getAttribute("data-id");
    $("notifications").replaceChildren(...this.#items.map((item) => this.#row(item)));
    if (focused) buttonOf($("notifications"), focused)?.focus();
  }

  /** @param {Item} item */
  #row(item) {
    const button = h(
      "button.notification",
      { type: "button" },
      h("strong", {}, item.title),
      h("span", {}, item.content),
      h("time", {}, shortTime(item.at)),
    );
    if (!item.isRead) button.append(h("span.sr", {}, ` (${t("unread", { n: 1 })})`));
    button.dataset.id = item.id;
    button.classList.toggle("is-unread", !item.isRead);
    button.addEventListener("click", () => this.#read(item));
    return h("li", {}, button);
  }

  /** @param {Item} item */
  #read(item) {
    if (!item.isRead) this.#tell([item.id]);
  }

  /**
   * Show notifications as read.
   * @param {string[] | null} ids null: all
   */
  #mark(ids) {
    this.#marked += 1;
    const read = this.#items.filter((item) => !item.isRead && (!ids || ids.includes(item.id)));
    for (const item of read) item.isRead = true;
    this.#unread = ids ? Math.max(0, this.#unread - read.length) : 0;
    this.render();
  }

  /**
   * Mark notifications as read here, in the user's other tabs and in the chat service.
   * @param {string[] | null} ids null: all
   */
  async #tell(ids) {
    this.#mark(ids);
    this.#others?.postMessage({ userId: this.#userId, ids });
    if (this.#stored && this.#userId) await api.markNotificationsRead(this.#userId, ids).catch(() => this.load());
  }
}

/** Return the channel to this user's other tabs; null where the browser's policy allows none. */
function otherTabs() {
  try {
    return new BroadcastChannel(`${api.STORE}:notifications`);
  } catch {
    return null;
  }
}

/**
 * Return whether a notification isn't stored yet: it is new enough for this page of the newest, and not in it.
 * @param {Item} notification @param {Item[]} items
 */
function isMissing({ id, at }, items) {
  if (items.some((item) => item.id === id)) return false;
  return items.length < api.MAX_NOTIFICATIONS || at >= (items.at(-1)?.at ?? 0);
}

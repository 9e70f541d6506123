// Notifications: those that are stored, over HTTP, and those that come while the page is open.

import * as api from "./api.js";
import { $, announce, h } from "./dom.js";
import { shortTime, t } from "./i18n.js";

export class Tray {
  #items = []; // newest first: {id, title, content, at, isRead}
  #unread = 0;
  #userId = null;
  #others = new BroadcastChannel("chatws:notifications"); // this user's other tabs
  #marked = 0; // how often something was marked read
  #stored = true; // whether the chat service has them

  constructor() {
    $("tray").addEventListener("toggle", ({ newState }) => {
      $("bell").setAttribute("aria-expanded", String(newState === "open"));
      if (newState === "open") this.load();
    });
    this.#others.addEventListener("message", ({ data }) => data.userId === this.#userId && this.#mark(data.ids));
    $("read-all").addEventListener("click", () => this.#tell(null));
  }

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
        title: item.title,
        content: item.content,
        at: Number(item.created_at),
        isRead: item.is_read,
      }));
      const live = this.#items.filter((item) => item.isLive && isMissing(item, items));
      this.#unread = (found.unread_count ?? 0) + live.filter(({ isRead }) => !isRead).length;
      this.#items = [...live, ...items];
    } catch (error) {
      this.#stored = ![400, 404, 405, 501].includes(error.status);
    }
    this.render();
  }

  /** A notification came in. */
  came({ notification_id: id, title, content }, at) {
    if (this.#items.some((item) => item.id === id)) return;
    this.#items.unshift({ id, title, content, at, isRead: false, isLive: true });
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
    $("bell-count").textContent = this.#unread > 99 ? "99+" : String(this.#unread);
    $("bell").setAttribute(
      "aria-label",
      this.#unread ? `${t("notifications")}, ${t("unread", { n: this.#unread })}` : t("notifications"),
    );
    $("read-all").hidden = this.#unread === 0;
    $("only-live").hidden = this.#stored;
    $("no-notifications").hidden = this.#items.length > 0;
    const focused = document.activeElement?.closest("#notifications button")?.dataset.id;
    $("notifications").replaceChildren(...this.#items.map((item) => this.#row(item)));
    if (focused)
      $("notifications")
        .querySelector(`button[data-id="${CSS.escape(focused)}"]`)
        ?.focus();
  }

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

  #read(item) {
    if (!item.isRead) this.#tell([item.id]);
  }

  /** These, or all, are read now. */
  #mark(ids) {
    this.#marked += 1;
    const read = this.#items.filter((item) => !item.isRead && (!ids || ids.includes(item.id)));
    for (const item of read) item.isRead = true;
    this.#unread = ids ? Math.max(0, this.#unread - read.length) : 0;
    this.render();
  }

  async #tell(ids) {
    this.#mark(ids);
    this.#others.postMessage({ userId: this.#userId, ids });
    if (this.#stored) await api.markNotificationsRead(this.#userId, ids).catch(() => this.load());
  }
}

/** Whether a full page of the newest would hold it, and this one doesn't: then it isn't stored yet. */
function isMissing({ id, at }, items) {
  return !items.some((item) => item.id === id) && (items.length < api.MOST_NOTIFICATIONS || at >= items.at(-1).at);
}

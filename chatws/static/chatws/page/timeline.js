// The messages of one room on the screen: a window of the list, which moves with the scroll bar, so that ten thousand
// messages cost no more than a hundred. Rows on the screen keep their position if rows are added above or below.

import { messageRow, separator } from "./bubble.js";
import { $ } from "./dom.js";
import { dayName, dayOf, t } from "./i18n.js";

/** @import { Look, Row } from "./bubble.js" */
/** @import { Message, Room } from "./room.js" */

/**
 * @typedef {object} Needs
 * @property {() => void} onTop called when older messages are needed
 * @property {() => void} onSeen called when the end is on the screen
 * @property {() => Look} look
 */

const MAX_ROWS = 150;
const STEP_ROWS = 50;
const NEAR_PIXELS = 400; // distance from an end at which the window moves
const END_PIXELS = 40; // distance from the end that counts as the end
const TOGETHER_SECONDS = 300; // messages of one sender within this time form one block

export class Timeline {
  #scroller = $("scroller");
  #list = $("messages");
  /** @type {Map<string, { element: HTMLElement, signature: string }>} */
  #rows = new Map(); // by key
  /** @type {Room | null} */
  #room = null;
  #from = 0;
  #to = 0;
  #unseen = 0;
  #moving = false;

  /** @param {Needs} needs */
  constructor({ onTop, onSeen, look }) {
    this.onTop = onTop;
    this.onSeen = onSeen;
    this.look = look;
    this.following = true; // the end is on the screen, and stays there
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => {
      if (this.following) this.#toEnd();
      this.#fill();
    }).observe(this.#scroller);
    $("newest").addEventListener("click", () => this.jump());
    this.#scroller.addEventListener("keydown", (event) => {
      if (event.key === "End") {
        event.preventDefault();
        this.jump();
      }
    });
  }

  /** @param {Room} room */
  show(room) {
    this.#room = room;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.jump();
  }

  /** Scroll to the newest message. */
  jump() {
    this.following = true;
    this.#to = Infinity;
    this.#from = 0;
    this.render();
  }

  /**
   * A message was added at the end.
   * @param {boolean} isMine
   */
  arrived(isMine) {
    if (!this.following && !isMine) this.#unseen += 1;
    this.render();
  }

  /**
   * Older messages were added before the others.
   * @param {number} count
   */
  shifted(count) {
    this.#from += count;
    this.#to += count;
    this.#moveUp();
    this.render();
  }

  /** Draw what changed. */
  render() {
    const room = this.#room;
    if (!room) return;
    const all = room.all;
    if (this.following || this.#to > all.length) this.#to = all.length;
    this.#from = Math.max(0, this.following ? all.length - MAX_ROWS : Math.min(this.#from, this.#to - STEP_ROWS));
    const anchor = this.following ? null : this.#anchor();
    this.#reconcile(this.#plan(room, all));
    if (this.following) this.#toEnd();
    else if (anchor?.element.isConnected) this.#scroller.scrollTop += anchor.element.offsetTop - anchor.top;
    this.#showEnds(all);
    this.#fill();
  }

  /** @param {Room} room @param {Message[]} all */
  #plan(room, all) {
    const rows = [];
    if (this.#from === 0)
      rows.push(separator("start", room.hasMore ? t("loading") : room.loaded ? t("beginning") : ""));
    for (let index = this.#from; index < this.#to; index += 1) {
      const message = all[index];
      const [before, after] = [all[index - 1], all[index + 1]];
      if (index === this.#from || dayOf(before.at) !== dayOf(message.at))
        rows.push(separator(`day-${message.key}`, dayName(message.at), "day"));
      if (message.id && message.id === room.newFrom) rows.push(separator("new", t("newMessages"), "new"));
      const place = {
        first: !together(before, message) || message.id === room.newFrom,
        last: !together(message, after) || after.id === room.newFrom,
      };
      rows.push(messageRow(room, message, place, this.look()));
    }
    return rows;
  }

  /** @param {Row[]} plan */
  #reconcile(plan) {
    const rows = new Map();
    for (const { key, signature, make } of plan) {
      const old = this.#rows.get(key);
      rows.set(key, old?.signature === signature ? old : { element: make(), signature });
    }
    const wanted = [...rows.values()].map(({ element }) => element);
    const keep = new Set(wanted);
    const focus = this.#focus();
    for (const element of [...this.#list.children]) if (!keep.has(element)) element.remove();
    wanted.forEach((element, index) => {
      if (this.#list.children[index] !== element) this.#list.insertBefore(element, this.#list.children[index] ?? null);
    });
    this.#rows = rows;
    focus?.();
  }

  /** Return a function that gives the focus back to the row that has it now; to the list if that row is gone. */
  #focus() {
    const active = /** @type {HTMLElement | null} */ (document.activeElement);
    const row = /** @type {HTMLElement | null | undefined} */ (active?.closest("#messages > .message"));
    if (!active || !row) return null;
    /**
     * @param {HTMLElement} [element]
     * @returns {HTMLElement[]}
     */
    const controls = (element) => [
      .../** @type {NodeListOf<HTMLElement> | []} */ (element?.querySelectorAll("button, a") ?? []),
    ];
    const place = controls(row).indexOf(active);
    return () => {
      const now = controls(this.#rows.get(`m-${row.dataset.id}`)?.element);
      const next = active.isConnected ? active : (now[place] ?? now[0] ?? this.#scroller);
      if (next !== document.activeElement) next.focus({ preventScroll: true });
    };
  }

  /** Return the first message on the screen, and its position. */
  #anchor() {
    const top = this.#scroller.scrollTop;
    const rows = /** @type {HTMLElement[]} */ ([...this.#list.children]);
    const element = rows.find((row) => row.dataset.id && row.offsetTop + row.offsetHeight > top);
    return element && { element, top: element.offsetTop };
  }

  #scrolled() {
    if (this.#moving || !this.#room) return;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const end = scrollHeight - scrollTop - clientHeight;
    const length = this.#room.all.length;
    this.following = end < END_PIXELS && this.#to >= length;
    if (!this.following && scrollTop < NEAR_PIXELS && this.#moveUp()) this.render();
    else if (!this.following && end < NEAR_PIXELS && this.#to < length) {
      this.#to = Math.min(length, this.#to + STEP_ROWS);
      this.#from = Math.max(this.#from, this.#to - MAX_ROWS);
      this.render();
    }
    this.#showEnds(this.#room.all);
    this.#fill();
  }

  /** Ask for older messages near the first one, or if the rows don't fill the screen. */
  #fill() {
    if (this.#room?.hasMore && this.#from === 0 && this.#scroller.scrollTop < NEAR_PIXELS) this.onTop();
  }

  #moveUp() {
    if (this.#from === 0) return false;
    this.#from = Math.max(0, this.#from - STEP_ROWS);
    this.#to = Math.min(this.#to, this.#from + MAX_ROWS);
    return true;
  }

  #toEnd() {
    this.#moving = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    requestAnimationFrame(() => {
      this.#moving = false;
    });
  }

  /** @param {Message[]} all */
  #showEnds(all) {
    if (this.following) this.#unseen = 0;
    const button = $("newest");
    button.hidden = this.following || all.length === 0;
    button.classList.toggle("has-new", this.#unseen > 0);
    $("newest-text").textContent = this.#unseen > 0 ? t("newBelow", { n: this.#unseen }) : t("newest");
    if (this.following) this.onSeen();
  }
}

/**
 * Return whether two messages belong to one block.
 * @param {Message | undefined} one @param {Message | undefined} other
 */
function together(one, other) {
  if (!one || !other || one.sender !== other.sender || dayOf(one.at) !== dayOf(other.at)) return false;
  return Math.abs(other.at - one.at) < TOGETHER_SECONDS;
}

// The messages of one room on the screen: a window of the list, which moves as one scrolls, so that ten thousand
// messages cost no more than a hundred. What stands on the screen stays where it is, whatever comes above or below.

import { messageRow, separator } from "./bubble.js";
import { $ } from "./dom.js";
import { dayName, dayOf, t } from "./i18n.js";

const MOST_ROWS = 150;
const STEP = 50;
const NEAR = 400; // pixels from an end at which the window moves
const TOGETHER_SECONDS = 300;

export class Timeline {
  #scroller = $("scroller");
  #list = $("messages");
  #rows = new Map(); // key → {element, signature}
  #room = null;
  #from = 0;
  #to = 0;
  #unseen = 0;
  #moving = false;

  /** `onTop`: older messages are wanted; `onSeen`: the end is on the screen; `look`: what rows need to know. */
  constructor({ onTop, onSeen, look }) {
    Object.assign(this, { onTop, onSeen, look });
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

  show(room) {
    this.#room = room;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.jump();
  }

  /** To the newest message. */
  jump() {
    this.following = true;
    this.#to = Infinity;
    this.#from = 0;
    this.render();
  }

  /** A message came in at the end. */
  came(isMine) {
    if (!this.following && !isMine) this.#unseen += 1;
    this.render();
  }

  /** So many older messages were put before what there was. */
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
    this.#from = Math.max(0, this.following ? all.length - MOST_ROWS : Math.min(this.#from, this.#to - STEP));
    const anchor = this.following ? null : this.#anchor();
    this.#reconcile(this.#plan(all));
    if (this.following) this.#toEnd();
    else if (anchor?.element.isConnected) this.#scroller.scrollTop += anchor.element.offsetTop - anchor.top;
    this.#showEnds(all);
    this.#fill();
  }

  #plan(all) {
    const rows = [];
    const room = this.#room;
    if (this.#from === 0)
      rows.push(separator("start", room.hasMore ? t("loading") : room.loaded ? t("beginning") : ""));
    for (let index = this.#from; index < this.#to; index += 1) {
      const message = all[index];
      const [before, after] = [all[index - 1], all[index + 1]];
      if (index === this.#from || dayOf(before.at) !== dayOf(message.at))
        rows.push(separator(`day-${dayOf(message.at)}`, dayName(message.at), "day"));
      if (message.id && message.id === room.newFrom) rows.push(separator("new", t("newMessages"), "new"));
      const place = {
        first: !together(before, message) || message.id === room.newFrom,
        last: !together(message, after) || after.id === room.newFrom,
      };
      rows.push(messageRow(room, message, place, this.look()));
    }
    return rows;
  }

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

  /** What gives the focus back to the row that has it, drawn again or not; to the messages if it is gone. */
  #focus() {
    const active = document.activeElement;
    const row = active?.closest("#messages > .message");
    if (!row) return null;
    const controls = (element) => [...(element?.querySelectorAll("button, a") ?? [])];
    const place = controls(row).indexOf(active);
    return () => {
      const now = controls(this.#rows.get(`m-${row.dataset.id}`)?.element);
      const next = active.isConnected ? active : (now[place] ?? now[0] ?? this.#scroller);
      if (next !== document.activeElement) next.focus({ preventScroll: true });
    };
  }

  /** The first row on the screen that stays. */
  #anchor() {
    const top = this.#scroller.scrollTop;
    const element = [...this.#list.children].find((row) => row.dataset.id && row.offsetTop + row.offsetHeight > top);
    return element && { element, top: element.offsetTop };
  }

  #scrolled() {
    if (this.#moving || !this.#room) return;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const end = scrollHeight - scrollTop - clientHeight;
    const length = this.#room.all.length;
    this.following = end < 40 && this.#to >= length;
    if (!this.following && scrollTop < NEAR && this.#moveUp()) this.render();
    else if (!this.following && end < NEAR && this.#to < length) {
      this.#to = Math.min(length, this.#to + STEP);
      this.#from = Math.max(this.#from, this.#to - MOST_ROWS);
      this.render();
    }
    this.#showEnds(this.#room.all);
    this.#fill();
  }

  /** Near the beginning of what there is, or where that doesn't fill the screen, older ones are wanted. */
  #fill() {
    if (this.#room?.hasMore && this.#from === 0 && this.#scroller.scrollTop < NEAR) this.onTop();
  }

  #moveUp() {
    if (this.#from === 0) return false;
    this.#from = Math.max(0, this.#from - STEP);
    this.#to = Math.min(this.#to, this.#from + MOST_ROWS);
    return true;
  }

  #toEnd() {
    this.#moving = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    requestAnimationFrame(() => (this.#moving = false));
  }

  #showEnds(all) {
    if (this.following) this.#unseen = 0;
    const button = $("newest");
    button.hidden = this.following || all.length === 0;
    button.classList.toggle("has-new", this.#unseen > 0);
    $("newest-text").textContent = this.#unseen > 0 ? t("newBelow", { n: this.#unseen }) : t("newest");
    if (this.following) this.onSeen();
  }
}

function together(one, other) {
  if (!one || !other || one.sender !== other.sender || dayOf(one.at) !== dayOf(other.at)) return false;
  return Math.abs(other.at - one.at) < TOGETHER_SECONDS;
}

// The open chat group: its history, who is there, who types, what was read, as it comes over the socket. A history that
// the server doesn't know (400 or 501) is asked for over HTTP, as is what was read before; the rest is left out.

import { messagesBefore } from "../client/history.js";
import * as api from "./api.js";
import { $, announce, avatar } from "./dom.js";
import { reason, t } from "./i18n.js";
import { Room, received } from "./room.js";

const PAGE = 50;
const OLDER = 100;
const MOST_PAGES = 6; // to look for what we had before a gap
const PRESENCE_MS = 30_000;
const PRESENCE_AGAIN_MS = 1_000; // after somebody did something who wasn't there
const TYPING_MS = 12_000; // in case the server's word that it ended is lost
const READ_MS = 300;
const MOST_PRESENT = 500; // members of whom the server tells the presence
const UNKNOWN = [400, 501];

export class Conversation {
  #rooms = new Map();
  #names = new Map(); // user → name, from their messages
  #typing = new Map(); // user → timer
  #online = new Set();
  #members = 0;
  #askedAt = 0;
  #missed = new Set(); // users whom the presence, asked for their sake, doesn't know
  #unsupported = new Set();
  #loading = null;
  #readTimer = 0;
  #toTell = null; // what was read and isn't told yet
  #readId = null;
  room = null;

  /** `client`: () => ChatClient; `timeline`: what shows it; `onRead`: the open group was read to its end. */
  constructor({ client, timeline, onRead }) {
    Object.assign(this, { client, timeline, onRead });
    setInterval(() => {
      this.#missed.clear();
      this.#askPresence();
    }, PRESENCE_MS);
  }

  get online() {
    return this.#online;
  }

  roomOf(id) {
    if (!this.#rooms.has(id)) this.#rooms.set(id, new Room(id));
    return this.#rooms.get(id);
  }

  open(group, unread) {
    this.flush();
    this.room = this.roomOf(group.id);
    this.#online.clear();
    this.#missed.clear();
    this.#members = group.members ?? 0;
    this.#stopAllTyping();
    this.#readId = null;
    $("room-name").textContent = group.name;
    $("room-avatar").replaceChildren(avatar(group.id, group.name, group.cover));
    this.#showPresence();
    this.room.newFrom = null;
    if (this.room.loaded) this.#markNew(unread);
    this.timeline.show(this.room);
    this.renew(unread);
    this.ask();
  }

  /** What is never told again to one who didn't hear it: who is there, and how far each has read. */
  ask() {
    this.#askPresence();
    this.#askReads();
  }

  close() {
    this.room = null;
    this.#stopAllTyping();
    this.flush();
  }

  forget(id) {
    this.#rooms.delete(id);
    if (this.room?.id === id) this.close();
  }

  clear() {
    this.close();
    this.#rooms.clear();
    this.#names.clear();
    this.#unsupported.clear();
  }

  get rooms() {
    return [...this.#rooms.values()];
  }

  /** Get the newest messages, back to where they meet those we have. */
  async renew(unread = 0) {
    const { room } = this;
    const known = room.ids;
    try {
      const found = [];
      let more = true;
      for (let page = 0; more && page < MOST_PAGES; page += 1) {
        const { messages, has_more: hasMore } = await this.history(room.id, found);
        found.push(...messages);
        more = hasMore && messages.length > 0;
        if (known.size === 0 || messages.some(({ id }) => known.has(id))) break;
      }
      room.renew(found, more, known);
      for (const message of found) this.#learn(message);
      if (room !== this.room) return;
      if (room.newFrom === null) this.#markNew(unread);
      this.#trouble(null);
      this.timeline.render();
    } catch (error) {
      if (room === this.room) this.#trouble(error, () => this.renew());
    }
  }

  /** Get older messages than those we have. */
  async older() {
    const { room } = this;
    if (!room?.loaded || !room.hasMore || this.#loading === room || this.client()?.state !== "online") return;
    this.#loading = room;
    const first = room.messages[0]?.id ?? "";
    const found = await this.history(room.id, room.messages.toReversed(), OLDER).catch((error) => ({ error }));
    if (this.#loading === room) this.#loading = null;
    if (found.error) {
      if (room === this.room) this.#trouble(found.error, () => this.older());
      return;
    }
    if (first !== (room.messages[0]?.id ?? "")) return; // `renew` was faster: these don't join on
    const count = room.prepend(found.messages, found.has_more);
    for (const message of found.messages) this.#learn(message);
    if (room !== this.room) return;
    this.#trouble(null);
    this.timeline.shifted(count);
  }

  /** A page of a group's messages before those that are known, newest first. */
  async history(id, known, limit = PAGE) {
    if (!this.#unsupported.has("history")) {
      try {
        const told = known.map((message) => ({ message_id: message.id, created_at: message.at }));
        return page(await messagesBefore(this.client(), id, told, { limit }));
      } catch (error) {
        if (!UNKNOWN.includes(error.code)) throw error;
        this.#unsupported.add("history");
      }
    }
    return page(await api.messages(id, known.at(-1)?.id ?? "", limit));
  }

  /** A live message of any group. Whether it is on the screen, or somebody's own. */
  came(groupId, message, self) {
    const room = this.roomOf(groupId);
    const mine = message.sender === self;
    this.#learn(message);
    const isOpen = room === this.room;
    if ((room.loaded || isOpen) && !room.append(message)) return mine;
    if (!isOpen) return mine;
    this.#stopTyping(message.sender);
    this.#met(message.sender);
    this.timeline.came(mine);
    if (!mine) announce(`${message.name}: ${message.text || t("image")}`);
    return mine || (this.timeline.following && !document.hidden);
  }

  /** The end of the open group is on the screen: tell the others, once things are quiet. */
  seen() {
    const { room } = this;
    if (!room || document.hidden || !room.loaded) return;
    this.onRead(room.id);
    clearTimeout(this.#readTimer);
    const last = room.newestOfOthers(this.client()?.userId);
    if (!last || last.id === this.#readId || this.#unsupported.has("read")) return;
    this.#readTimer = setTimeout(() => this.flush(), READ_MS);
    this.#toTell = { id: room.id, last: last.id };
  }

  /** Whether nobody else has said anything in the open group after this message. */
  isNewest(id) {
    return this.room?.newestOfOthers(this.client()?.userId)?.id === id;
  }

  /** Tell what was read, now. */
  flush() {
    clearTimeout(this.#readTimer);
    const told = this.#toTell;
    this.#toTell = null;
    if (!told) return;
    this.#readId = told.last;
    const answer = this.client()?.markRead(told.id, told.last);
    answer?.catch((error) => UNKNOWN.includes(error.code) && this.#unsupported.add("read"));
  }

  wasRead({ group_id: groupId, user_id: userId, message_id: id }) {
    const room = this.roomOf(groupId);
    room.readBy.set(String(userId), id);
    if (room !== this.room) return;
    this.#met(String(userId));
    this.timeline.render();
  }

  types({ group_id: groupId, user_id: userId, typing }) {
    const user = String(userId);
    if (groupId !== this.room?.id || user === this.client().userId) return;
    this.#stopTyping(user);
    this.#met(user);
    if (typing)
      this.#typing.set(
        user,
        setTimeout(() => this.#stopTyping(user), TYPING_MS),
      );
    this.#showTyping();
  }

  /** Somebody of the open group did something. */
  #met(user) {
    if (this.#online.has(user) || this.#missed.has(user) || Date.now() - this.#askedAt < PRESENCE_AGAIN_MS) return;
    this.#missed.add(user);
    this.#askPresence();
  }

  async #askPresence() {
    const { room } = this;
    const client = this.client();
    if (!room || client?.state !== "online" || document.hidden || this.#unsupported.has("presence")) return;
    this.#askedAt = Date.now();
    try {
      const { users } = await client.presence(room.id);
      if (room !== this.room) return;
      this.#online = new Set(users.filter(({ connections }) => connections > 0).map(({ user_id: id }) => String(id)));
      this.#members = users.length < MOST_PRESENT ? users.length : Math.max(users.length, this.#members);
      this.#showPresence();
      this.timeline.render();
    } catch (error) {
      if (UNKNOWN.includes(error.code)) this.#unsupported.add("presence");
    }
  }

  async #askReads() {
    const { room } = this;
    if (!room) return;
    const members = await api.members(room.id).catch(() => []);
    for (const { user_id: user, read_id: id } of members) if (id) room.hadRead(String(user), id);
    if (room === this.room) this.timeline.render();
  }

  #showPresence() {
    const known = this.#online.size > 0;
    $("room-presence").hidden = !known;
    $("room-presence").textContent = known ? t("onlineCount", { n: this.#online.size, total: this.#members }) : "";
  }

  #stopTyping(user) {
    clearTimeout(this.#typing.get(user));
    if (this.#typing.delete(user)) this.#showTyping();
  }

  #stopAllTyping() {
    for (const user of [...this.#typing.keys()]) this.#stopTyping(user);
  }

  #showTyping() {
    const [name, other, third] = [...this.#typing.keys()].map((user) => this.#names.get(user) ?? t("someone"));
    const key = third ? "typingMany" : other ? "typingTwo" : "typingOne";
    $("typing-text").textContent = name ? t(key, { name, other }) : "";
    $("typing").classList.toggle("on", Boolean(name));
  }

  #learn({ sender, name }) {
    if (name) this.#names.set(sender, name);
  }

  #markNew(unread) {
    const { messages } = this.room;
    const others = messages.filter(({ sender }) => sender !== this.client().userId);
    if (unread > 0) this.room.newFrom = others.at(-Math.min(unread, others.length))?.id ?? null;
  }

  #trouble(error, again) {
    $("trouble").hidden = !error;
    if (!error) return;
    $("trouble-text").textContent = t("loadFailed", { why: reason(error) });
    $("trouble-again").onclick = () => {
      $("trouble").hidden = true;
      again();
    };
  }
}

function page({ messages, has_more }) {
  return { messages: messages.map(received), has_more };
}

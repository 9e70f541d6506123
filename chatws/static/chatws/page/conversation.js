// The open chat group: its history, presence, typing and read states, over the socket. If the server doesn't know the
// frame `history` (400 or 501), the page uses HTTP. Other frames that the server doesn't know are not sent again.

import { messagesBefore } from "../client/history.js";
import * as api from "./api.js";
import { $, announce, avatar } from "./dom.js";
import { reason, t } from "./i18n.js";
import { isMessage, Room, received } from "./room.js";

/** @import { ChatClient, ChatEvents, HistoryPage } from "../client/chatws.js" */
/** @import { Group } from "./groups.js" */
/** @import { Message, Stored } from "./room.js" */
/** @import { Timeline } from "./timeline.js" */

/** @typedef {{ messages: Stored[], has_more: boolean }} Page of a history, newest first */

/**
 * @typedef {object} Needs
 * @property {() => ChatClient | null} client
 * @property {Timeline} timeline
 * @property {(groupId: string) => void} onRead called when the open group was read to its end
 */

const PAGE_MESSAGES = 50;
const OLDER_MESSAGES = 100;
const MAX_PAGES = 6; // to reach the messages before a gap
const PRESENCE_MS = 30_000;
const PRESENCE_AGAIN_MS = 1_000; // shortest time between two requests, if a user who seemed offline does something
const TYPING_MS = 12_000; // if the frame that ends it is lost
const READ_MS = 300;
const MAX_PRESENT_MEMBERS = 500; // the server reports the presence of so many members
const UNKNOWN_CODES = [400, 501];

export class Conversation {
  /** @type {Map<string, Room>} */
  #rooms = new Map(); // by group
  /** @type {Map<string, string>} */
  #names = new Map(); // user → name, from their messages
  /** @type {Map<string, number>} */
  #typing = new Map(); // user → timer
  /** @type {Set<string>} */
  #online = new Set();
  #members = 0;
  #askedAt = 0; // milliseconds
  /** @type {Set<string>} */
  #missed = new Set(); // users who did something, and are offline by the last presence
  /** @type {Set<"history" | "presence" | "read">} */
  #unsupported = new Set();
  /** @type {Room | null} */
  #loading = null;
  #readTimer = 0;
  /** @type {{ id: string, last: string } | null} */
  #toTell = null; // the group and message that was read, until the others are told
  /** @type {string | null} */
  #readId = null;
  /** @type {Room | null} */
  room = null;

  /** @param {Needs} needs */
  constructor({ client, timeline, onRead }) {
    this.client = client;
    this.timeline = timeline;
    this.onRead = onRead;
    setInterval(() => {
      this.#missed.clear();
      this.#askPresence();
    }, PRESENCE_MS);
  }

  get online() {
    return this.#online;
  }

  /**
   * Return the room of a group; make it if there is none.
   * @param {string} id
   */
  roomOf(id) {
    const room = this.#rooms.get(id) ?? new Room(id);
    this.#rooms.set(id, room);
    return room;
  }

  /** @param {Group} group @param {number} unread how many messages */
  open(group, unread) {
    this.flush();
    const room = this.roomOf(group.id);
    this.room = room;
    this.#online.clear();
    this.#missed.clear();
    this.#members = group.members ?? 0;
    this.#stopAllTyping();
    this.#readId = null;
    $("room-name").textContent = group.name;
    $("room-avatar").replaceChildren(avatar(group.id, group.name, group.cover));
    this.#showPresence();
    room.newFrom = null;
    if (room.loaded) this.#markNew(room, unread);
    this.timeline.show(room);
    this.renew(unread);
    this.ask();
  }

  /** Ask who is online and how far each member has read: the feeds don't repeat it. */
  ask() {
    this.#askPresence();
    this.#askReads();
  }

  close() {
    this.room = null;
    this.#stopAllTyping();
    this.flush();
  }

  /** @param {string} id */
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

  /** Load the newest messages, back to those that are loaded. */
  async renew(unread = 0) {
    const { room } = this;
    if (!room) return;
    const known = room.ids;
    try {
      /** @type {Stored[]} */
      const found = [];
      let more = true;
      for (let page = 0; more && page < MAX_PAGES; page += 1) {
        const { messages, has_more: hasMore } = await this.history(room.id, found);
        found.push(...messages);
        more = hasMore && messages.length > 0;
        if (known.size === 0 || messages.some(({ id }) => known.has(id))) break;
      }
      room.renew(found, more, known);
      for (const message of found) this.#learn(message);
      if (room !== this.room) return;
      if (room.newFrom === null) this.#markNew(room, unread);
      this.#hideTrouble();
      this.timeline.render();
    } catch (error) {
      if (room === this.room) this.#trouble(error, () => this.renew());
    }
  }

  /** Load messages before the first. */
  async older() {
    const { room } = this;
    if (!room?.loaded || !room.hasMore || this.#loading === room || this.client()?.state !== "online") return;
    this.#loading = room;
    const first = room.messages[0]?.id ?? "";
    /** @type {Page} */
    let found;
    try {
      found = await this.history(room.id, room.messages.toReversed(), OLDER_MESSAGES);
    } catch (error) {
      if (room === this.room) this.#trouble(error, () => this.older());
      return;
    } finally {
      if (this.#loading === room) this.#loading = null;
    }
    if (first !== (room.messages[0]?.id ?? "")) return; // `renew` was faster: these are not adjacent
    const count = room.prepend(found.messages, found.has_more);
    for (const message of found.messages) this.#learn(message);
    if (room !== this.room) return;
    this.#hideTrouble();
    this.timeline.shifted(count);
  }

  /**
   * Return a page of a group's messages before those that are known, newest first.
   * @param {string} id @param {Stored[]} known newest first
   */
  async history(id, known, limit = PAGE_MESSAGES) {
    if (!this.#unsupported.has("history")) {
      try {
        const told = known.map((message) => ({ message_id: message.id, created_at: message.at }));
        return page(await messagesBefore(/** @type {ChatClient} */ (this.client()), id, told, { limit }));
      } catch (error) {
        if (!isUnknown(error)) throw error;
        this.#unsupported.add("history");
      }
    }
    return page(await api.messages(id, known.at(-1)?.id ?? "", limit));
  }

  /**
   * Take a live message of any group. Return whether it is on the screen, or the user's own.
   * @param {string} groupId @param {Stored} message @param {string | null} self
   */
  arrived(groupId, message, self) {
    const room = this.roomOf(groupId);
    const mine = message.sender === self;
    this.#learn(message);
    const isOpen = room === this.room;
    if ((room.loaded || isOpen) && !room.append(message)) return mine;
    if (!isOpen) return mine;
    this.#stopTyping(message.sender);
    this.#met(message.sender);
    this.timeline.arrived(mine);
    if (!mine) announce(`${message.name}: ${message.text || t("image")}`);
    return mine || (this.timeline.following && !document.hidden);
  }

  /** The end of the open group is on the screen: tell the others, a moment later. */
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

  /**
   * Return whether no other user has written in the open group after this message.
   * @param {string} id
   */
  isNewest(id) {
    return this.room?.newestOfOthers(this.client()?.userId)?.id === id;
  }

  /** Tell the others now what was read. */
  flush() {
    clearTimeout(this.#readTimer);
    const told = this.#toTell;
    this.#toTell = null;
    if (!told) return;
    this.#readId = told.last;
    const answer = this.client()?.markRead(told.id, told.last);
    answer?.catch((error) => isUnknown(error) && this.#unsupported.add("read"));
  }

  /** @param {ChatEvents["message_read"]} data */
  wasRead({ group_id: groupId, user_id: userId, message_id: id }) {
    const room = this.roomOf(groupId);
    room.readBy.set(String(userId), id);
    if (room !== this.room) return;
    this.#met(String(userId));
    this.timeline.render();
  }

  /** @param {ChatEvents["typing"]} data */
  types({ group_id: groupId, user_id: userId, typing }) {
    const user = String(userId);
    if (groupId !== this.room?.id || user === this.client()?.userId) return;
    this.#stopTyping(user);
    this.#met(user);
    if (typing) {
      const timer = setTimeout(() => this.#stopTyping(user), TYPING_MS);
      this.#typing.set(user, timer);
    }
    this.#showTyping();
  }

  /**
   * A user of the open group did something. Ask for the presence if the user seems offline.
   * @param {string} user
   */
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
      this.#members = users.length < MAX_PRESENT_MEMBERS ? users.length : Math.max(users.length, this.#members);
      this.#showPresence();
      this.timeline.render();
    } catch (error) {
      if (isUnknown(error)) this.#unsupported.add("presence");
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

  /** @param {string} user */
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

  /** @param {Message} message */
  #learn({ sender, name }) {
    if (name) this.#names.set(sender, name);
  }

  /** @param {Room} room @param {number} unread */
  #markNew(room, unread) {
    const others = room.messages.filter(({ sender }) => sender !== this.client()?.userId);
    if (unread > 0) room.newFrom = others.at(-Math.min(unread, others.length))?.id ?? null;
  }

  /** @param {unknown} error @param {() => void} again */
  #trouble(error, again) {
    $("trouble").hidden = false;
    $("trouble-text").textContent = t("loadFailed", { why: reason(error) });
    $("trouble-again").onclick = () => {
      this.#hideTrouble();
      again();
    };
  }

  #hideTrouble() {
    $("trouble").hidden = true;
  }
}

/**
 * @param {HistoryPage} history
 * @returns {Page}
 */
function page({ messages, has_more }) {
  return { messages: messages.filter(isMessage).map(received), has_more };
}

/**
 * Return whether the server doesn't know the frame.
 * @param {any} error
 */
function isUnknown(error) {
  return UNKNOWN_CODES.includes(error.code);
}

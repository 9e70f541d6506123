// The chat page: log in and out, keep the connection, and pass events to the parts of the page.

import { ChatClient } from "../client/chatws.js";
import * as api from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { $, avatar, buttonOf } from "./dom.js";
import { Groups } from "./groups.js";
import { dayOf, isWord, reason, t } from "./i18n.js";
import { Outbox } from "./outbox.js";
import { isMessage, received } from "./room.js";
import { Settings } from "./settings.js";
import { Timeline } from "./timeline.js";
import { Tray } from "./tray.js";

/** @import { ChatEvents, Frame, Message as MessageData } from "../client/chatws.js" */
/** @import { Group } from "./groups.js" */

const CLOSE_UNAUTHENTICATED = 4401;
const BANNER_MS = 700; // a break that is shorter shows no banner
const MAX_COUNTED_GROUPS = 20;
const MAX_UNREAD_MESSAGES = 100; // of a group whose unread messages the page counts
const JOINED_MS = 200; // many groups are joined at once
const AGAIN_MS = 5_000;
const DAY_CHECK_MS = 60_000;

/** @type {ChatClient | null} */
let client = null;
let bannerTimer = 0;
/** @type {ChatEvents["state"] | null} */
let stoppedBy = null;
/** @type {string | undefined} */
let refusedFor; // the server's reason to refuse the token
let groupsTimer = 0;
let groupsAsked = 0; // only the latest answer counts
let groupsFailed = false;

const settings = new Settings(() => redraw());
const timeline = new Timeline({
  onTop: () => conversation.older(),
  onSeen: () => conversation.seen(),
  look: () => ({
    self: client?.userId ?? self(),
    online: conversation.online,
    alwaysImages: settings.alwaysImages,
    language: document.documentElement.lang,
    connected: client?.state === "online",
    redraw: () => timeline.render(),
    again: (message) => outbox.again(message),
    remove: (message) => outbox.remove(message),
    open: openImage,
  }),
});
const conversation = new Conversation({ client: () => client, timeline, onRead: (id) => groups.seen(id) });
const groups = new Groups({ onOpen: (id) => openGroup(id) });
const tray = new Tray();
const outbox = new Outbox({
  client: () => client,
  roomOf: (id) => conversation.roomOf(id),
  rooms: () => conversation.rooms,
  onChange: (room, mine) => {
    if (room === conversation.room) mine ? timeline.jump() : timeline.render();
    showBanner();
  },
});
const composer = new Composer({
  onSend: (content) => conversation.room && outbox.send(conversation.room.id, content, self()),
  onTyping: (typing) => conversation.room && client?.typing(conversation.room.id, typing),
});

function self() {
  return client?.userId ?? String(api.claims().userId ?? "");
}

// Logging in and out

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = $("login-form");
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button[type=submit]"));
  /** @param {string} name */
  const field = (name) => /** @type {HTMLInputElement | null} */ (form.elements.namedItem(name));
  const token = field("token");
  $("login-error").textContent = "";
  button.disabled = true;
  try {
    if (token) api.useToken(token.value);
    else
      await api.logIn(field("username")?.value ?? "", field("password")?.value ?? "", field("stay")?.checked ?? false);
    form.reset();
    begin();
  } catch (error) {
    const isWrong = error instanceof api.Refused && error.status === 401;
    $("login-error").textContent = isWrong ? t("wrongLogin") : t("logInFailed", { why: reason(error) });
  } finally {
    button.disabled = false;
  }
});

$("logout").addEventListener("click", () => {
  if (outbox.count > 0 && !confirm(t("unsentAtLogOut", { n: outbox.count }))) return;
  outbox.end(true);
  leave("");
});

api.onForgotten(() => client && leave(""));

/**
 * Go back to the login. Messages that are not sent yet stay in this tab for the same user.
 * @param {string} why shown to the user
 */
function leave(why) {
  const old = client;
  clearTimeout(groupsTimer);
  conversation.close();
  client = null;
  outbox.end(false);
  old?.close();
  for (const popover of [$("menu"), $("tray")]) popover.hidePopover();
  conversation.clear();
  groups.clear();
  tray.clear();
  api.forget();
  composer.text = "";
  showRoom(false);
  show("login");
  $("login-error").textContent = why;
}

/** @param {"login" | "chat"} name */
function show(name) {
  $("login").hidden = name !== "login";
  $("chat").hidden = name !== "chat";
  if (name === "login") $("login").querySelector("input")?.focus();
}

function begin() {
  show("chat");
  stoppedBy = null;
  refusedFor = undefined;
  const mine = new ChatClient(`${api.BASE}ws`, { token: api.provideToken });
  client = mine;
  /**
   * Listen until the user logs out.
   * @template {keyof ChatEvents} Type
   * @param {Type} type @param {(detail: ChatEvents[Type], frame?: Frame) => void} act
   */
  const listen = (type, act) => mine.listen(type, (detail, event) => mine === client && act(detail, event.frame));
  /** @type {string | null} */
  let user = null;
  listen("state", (detail) => {
    user ??= mine.userId;
    if (mine.userId === user) showState(detail);
    else beginAnew(mine);
  });
  listen("auth_failed", ({ reason: why }) => {
    refusedFor = why;
  });
  listen("ready", ({ user_id: userId }) => welcome(userId));
  listen("new_message", (data) => arrived(data));
  listen("group_joined", () => loadGroups(JOINED_MS));
  listen("group_left", ({ group_id: id }) => left(id));
  listen("lost", ({ feed }) => lost(feed));
  listen("notification", (data, frame) => tray.arrived(data, frame?.timestamp ?? 0));
  listen("message_read", (data) => wasRead(data));
  listen("typing", (data) => conversation.types(data));
  listen("error", ({ code, message, reason: why }) => why || notice(reason({ code, message })));
  mine.connect();
}

/**
 * Reload, as another tab has logged in as another user: nothing of this user may be sent with that login.
 * @param {ChatClient} mine
 */
function beginAnew(mine) {
  client = null;
  outbox.end(false);
  mine.close();
  location.reload();
}

/** @param {string} userId */
function welcome(userId) {
  const name = api.claims().name ?? "";
  $("me").replaceChildren(avatar(userId, name || t("you"), api.claims().avatar));
  $("me-name").textContent = name || `#${userId}`;
  groups.begin(userId);
  outbox.begin(userId);
  loadGroups();
  tray.load(userId);
  conversation.ask();
  if (conversation.room?.loaded === false) conversation.renew(); // the request ended with the client
}

// The connection

/** @param {ChatEvents["state"]} detail */
function showState(detail) {
  stoppedBy = detail.state === "stopped" ? detail : null;
  if (detail.state === "stopped" && detail.code === CLOSE_UNAUTHENTICATED)
    return leave(t(refusedFor === "invalid" ? "loginInvalid" : "loginExpired"));
  const waiting = navigator.onLine ? "connecting" : "offline";
  $("state").dataset.state = detail.state;
  $("state").textContent = t(detail.state === "waiting" ? waiting : detail.state);
  if (detail.state === "online") notice("");
  showBanner();
  timeline.render();
}

function showBanner() {
  const { state } = $("state").dataset;
  const show = () => {
    const key = stoppedBy ? "bannerStopped" : navigator.onLine ? "bannerWaiting" : "bannerOffline";
    const known = `why${stoppedBy?.code}`;
    const why = isWord(known) ? t(known) : stoppedBy?.message;
    const waiting = outbox.waiting > 0 ? ` ${t("waitingToBeSent", { n: outbox.waiting })}` : "";
    $("banner-text").textContent = t(key, { why }) + waiting;
    $("banner").hidden = false;
    $("connect").hidden = !stoppedBy;
  };
  if (state === "online" || state === undefined || !client) {
    clearTimeout(bannerTimer);
    bannerTimer = 0;
    $("banner").hidden = true;
  } else if (!$("banner").hidden || stoppedBy) show();
  else bannerTimer ||= setTimeout(show, BANNER_MS);
}

$("connect").addEventListener("click", () => client?.connect());
for (const type of ["online", "offline"]) addEventListener(type, () => client && showBanner());

/** @param {string} text */
function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// Groups and messages

function loadGroups(afterMs = 0) {
  clearTimeout(groupsTimer);
  groupsTimer = setTimeout(askForGroups, afterMs);
}

async function askForGroups() {
  const mine = client;
  if (!mine) return;
  groupsAsked += 1;
  const asked = groupsAsked;
  const outdated = () => mine !== client || asked !== groupsAsked;
  try {
    const found = await api.groups(mine.userId ?? "");
    if (outdated()) return;
    if (groupsFailed) notice("");
    groupsFailed = false;
    const open = groups.set(found);
    if (conversation.room && !groups.get(conversation.room.id)) left(conversation.room.id);
    if (timeline.following) conversation.seen();
    await Promise.all(open.slice(0, MAX_COUNTED_GROUPS).map((one) => countUnread(one)));
    groups.render();
  } catch (error) {
    if (outdated()) return;
    if (error instanceof api.Refused && error.final) return leave(t("loginExpired"));
    groupsFailed = true;
    notice(t("loadFailed", { why: reason(error) }));
    loadGroups(AGAIN_MS);
  }
}

/**
 * Count the messages of others since the group was read last on this device.
 * @param {{ group: Group, readAt: number }} open
 */
async function countUnread({ group, readAt }) {
  if (group.id === conversation.room?.id) return;
  const { messages } = await conversation.history(group.id, [], MAX_UNREAD_MESSAGES);
  const unread = messages.filter(({ at, sender }) => at > readAt && sender !== client?.userId);
  groups.count(group, unread.length, messages[0]);
}

/** @param {MessageData} data */
function arrived(data) {
  if (!isMessage(data)) return;
  const message = received(data);
  groups.arrived(data.group_id, message, conversation.arrived(data.group_id, message, client?.userId ?? null));
}

/** @param {string} feed */
function lost(feed) {
  const [kind, id] = feed.split(/:(.*)/);
  if (kind === "user") {
    tray.load();
    loadGroups();
  } else if (id === conversation.room?.id) conversation.renew();
  else conversation.roomOf(id).loaded = false;
}

/** @param {string} id */
function left(id) {
  const wasOpen = conversation.room?.id === id;
  groups.delete(id);
  conversation.forget(id);
  if (!wasOpen) return;
  showRoom(false);
  notice(t("left"));
}

/** @param {ChatEvents["message_read"]} data */
function wasRead(data) {
  if (String(data.user_id) !== client?.userId) conversation.wasRead(data);
  else if (data.group_id !== conversation.room?.id || conversation.isNewest(data.message_id))
    groups.seen(data.group_id);
}

/** @param {string} id */
function openGroup(id) {
  const group = groups.get(id);
  if (!group) return;
  if (conversation.room) conversation.room.draft = composer.text;
  notice("");
  $("trouble").hidden = true;
  groups.current = id;
  showRoom(true);
  conversation.open(group, group.unread);
  composer.text = conversation.roomOf(id).draft;
  composer.focus();
  groups.render();
}

/** @param {boolean} isOpen */
function showRoom(isOpen) {
  if (!isOpen) {
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    conversation.close();
    groups.current = null;
    groups.render();
  }
  document.body.classList.toggle("in-room", isOpen);
  $("room").hidden = !isOpen;
  $("choose").hidden = isOpen;
}

$("back").addEventListener("click", () => {
  const { room } = conversation;
  if (!room) return;
  room.draft = composer.text;
  showRoom(false);
  buttonOf($("groups"), room.id)?.focus();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (timeline.following) conversation.seen();
  conversation.ask();
});

/** @param {string} url */
function openImage(url) {
  $("large-image").src = url;
  $("large-link").href = url;
  $("large-link").textContent = url;
  $("large").showModal();
}

$("large-close").addEventListener("click", () => $("large").close());

function redraw() {
  groups.render();
  tray.render();
  timeline.render();
  if (client) showState({ state: client.state, ...stoppedBy });
}

let day = dayOf(Date.now() / 1000);
setInterval(() => {
  const now = dayOf(Date.now() / 1000);
  if (now !== day && client) redraw(); // "Today" has become "Yesterday"
  day = now;
}, DAY_CHECK_MS);

if (api.tokens()) begin();
else show("login");

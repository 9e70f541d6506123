// The chat page: groups, the messages of one, writing. What it shows comes from the API and from live frames.

import * as api from "./api.js";
import { ChatClient } from "./client.js";

const $ = (id) => document.getElementById(id);
const STATES = { connecting: "connecting", online: "online", offline: "offline, trying again", refused: "disconnected" };

let client = null;
let groups = new Map(); // group id → { name, last }
let open = null; // { id, shown: message id → element, pending: frame id → element, oldest, more }

// Logging in and out

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  $("login-error").textContent = "";
  button.disabled = true;
  try {
    if (form.dataset.demo === "yes") await api.logIn(form.username.value, form.password.value);
    else api.useToken(form.token.value);
    form.reset();
    begin();
  } catch (error) {
    $("login-error").textContent = error.status === 401 ? "Name or password is wrong." : error.message;
  } finally {
    button.disabled = false;
  }
});

$("logout").addEventListener("click", () => leave(""));

function leave(why) {
  client?.stop();
  client = null;
  groups = new Map();
  open = null;
  api.forget();
  $("groups").replaceChildren();
  $("messages").replaceChildren();
  $("text").value = "";
  $("write").hidden = true;
  $("hint").hidden = false;
  $("title").textContent = "Chat";
  $("me").textContent = "";
  show("login");
  $("login-error").textContent = why;
}

function show(name) {
  $("login").hidden = name !== "login";
  $("chat").hidden = name !== "chat";
  document.body.classList.toggle("in-room", name === "chat" && open !== null);
}

function begin() {
  show("chat");
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  client = new ChatClient(`${scheme}//${location.host}/ws`, api.accessToken);
  client.addEventListener("state", ({ detail }) => showState(detail));
  client.addEventListener("ready", ({ detail }) => catchUp(detail));
  client.addEventListener("frame", ({ detail }) => FRAMES[detail.type]?.(detail));
  client.addEventListener("sent", ({ detail }) => sent(detail));
  client.addEventListener("failed", ({ detail }) => failed(detail));
  client.addEventListener("refused", ({ detail }) => refused(detail));
  client.start();
}

function showState(state) {
  $("state").dataset.state = state;
  $("state").textContent = STATES[state];
}

function refused({ code, message }) {
  if (code === 4401) leave(message);
  else notice(`Disconnected: ${message}`);
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

window.addEventListener("online", () => client?.hurry());
document.addEventListener("visibilitychange", () => document.hidden || client?.hurry());

// Groups

async function catchUp({ user_id: userId }) {
  const known = new Set(open?.shown.keys());
  notice("");
  $("me").textContent = name();
  try {
    const found = await api.groups(userId);
    groups = new Map(found.map((group) => [group.group_id, { name: group.name, last: lastOf(group) }]));
    showGroups();
    if (open && !groups.has(open.id)) closeRoom();
    else if (open) await fetchMissed(known);
  } catch (error) {
    trouble(error);
  }
}

function name() {
  try {
    const claims = api.tokens().access.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(claims), (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).name ?? "";
  } catch {
    return "";
  }
}

function lastOf(group) {
  return group.last_message ? `${group.last_sender_name}: ${group.last_message}` : "";
}

function trouble(error) {
  if (error.final) leave(error.message);
  else notice(`Not up to date: ${error.message}`);
}

function showGroups() {
  const rows = [...groups].map(([id, group]) => {
    const button = element("button", "group");
    button.append(element("span", "name", group.name), element("span", "last", group.last));
    if (group.unread) button.append(element("span", "unread", String(group.unread)));
    if (open?.id === id) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => openRoom(id));
    const row = element("li");
    row.append(button);
    return row;
  });
  $("groups").replaceChildren(...rows);
}

// One group's messages

async function openRoom(id) {
  open = { id, shown: new Map(), pending: new Map() };
  const group = groups.get(id);
  group.unread = 0;
  $("title").textContent = group.name;
  $("messages").replaceChildren();
  $("hint").hidden = true;
  $("write").hidden = false;
  show("chat");
  showGroups();
  $("text").focus();
  await fetchMissed(new Set());
}

function closeRoom() {
  open = null;
  $("title").textContent = "Chat";
  $("messages").replaceChildren();
  $("hint").hidden = false;
  $("write").hidden = true;
  show("chat");
  showGroups();
}

$("back").addEventListener("click", closeRoom);

/**
 * Fetch backwards until we meet what we had before, then show all of it in the server's order.
 * @param {Set<string>} known the ids that were shown before the connection was: later ones may stand above a gap
 */
async function fetchMissed(known) {
  const room = open;
  const fetched = [];
  try {
    for (let before = ""; ; ) {
      const page = await api.messages(room.id, before);
      fetched.push(...page.messages);
      if (known.size === 0 || !page.has_more || page.messages.some((message) => known.has(message.message_id))) break;
      before = page.messages.at(-1).message_id;
    }
  } catch (error) {
    trouble(error);
    return;
  }
  if (room !== open) return;
  const sinceThen = new Set(room.shown.keys());
  for (const message of fetched.reverse()) {
    addMessage(message);
    sinceThen.delete(message.message_id);
    if (!known.has(message.message_id)) $("messages").append(room.shown.get(message.message_id));
  }
  for (const id of sinceThen) if (!known.has(id)) $("messages").append(room.shown.get(id));
  $("messages").append(...room.pending.values());
  scrollDown();
}

function addMessage(message) {
  if (open.shown.has(message.message_id)) return;
  const row = bubble(message.content || message.image_url, message.sender === client.userId, message.sender_name);
  row.append(time(message.created_at));
  open.shown.set(message.message_id, row);
  const first = [...open.pending.values()][0];
  $("messages").insertBefore(row, first?.isConnected ? first : null);
}

function bubble(text, mine, sender) {
  const row = element("li", mine ? "message mine" : "message");
  if (!mine) row.append(element("span", "sender", sender || "unknown"));
  row.append(element("p", "text", text));
  return row;
}

function time(seconds) {
  const at = new Date(seconds * 1000);
  const stamp = element("time", "at", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  stamp.dateTime = at.toISOString();
  return stamp;
}

function scrollDown() {
  $("messages").scrollTop = $("messages").scrollHeight;
}

// Frames

const FRAMES = {
  new_message({ data }) {
    const group = groups.get(data.group_id);
    if (group) group.last = `${data.sender_name}: ${data.content || data.image_url}`;
    if (open?.id === data.group_id) {
      addMessage(data);
      scrollDown();
    } else if (group && data.sender !== client.userId) {
      group.unread = (group.unread ?? 0) + 1;
    }
    showGroups();
  },
  group_joined: () => catchUp({ user_id: client.userId }),
  group_left: ({ data }) => {
    groups.delete(data.group_id);
    if (open?.id === data.group_id) {
      closeRoom();
      notice("You are no longer in this group.");
    } else showGroups();
  },
  feed_reset: ({ data }) => {
    if (open && data.feed === `group:${open.id}`) fetchMissed(new Set(open.shown.keys()));
  },
  error: ({ data }) => notice(data.message),
};

// Writing

$("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!text.trim() || !open) return;
  $("text").value = "";
  grow();
  const row = bubble(text, true);
  row.classList.add("pending");
  row.append(element("span", "at", "sending"));
  const id = client.sendMessage(open.id, text);
  open.pending.set(id, row);
  $("messages").append(row);
  scrollDown();
});

$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("write").requestSubmit();
  }
});

$("text").addEventListener("input", grow);

function grow() {
  $("text").rows = Math.min($("text").value.split("\n").length, 6);
}

/** Stored: what we showed ourselves becomes the message, unless `new_message` was faster. */
function sent({ id, messageId }) {
  const row = open?.pending.get(id);
  if (!row) return;
  open.pending.delete(id);
  if (open.shown.has(messageId)) {
    row.remove();
    return;
  }
  const now = Math.floor(Date.now() / 1000);
  row.classList.remove("pending", "failed");
  row.querySelector(".at").replaceWith(time(now));
  open.shown.set(messageId, row);
}

function failed({ id, frame, message }) {
  const row = open?.pending.get(id);
  if (!row) return;
  row.classList.add("failed");
  const again = element("button", "plain again", "Try again");
  again.addEventListener("click", () => {
    row.classList.remove("failed");
    row.querySelector(".at").replaceChildren("sending");
    client.sendAgain(id, frame);
  });
  row.querySelector(".at").replaceChildren(`not sent: ${message} `, again);
}

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

if (api.tokens()) begin();
else show("login");

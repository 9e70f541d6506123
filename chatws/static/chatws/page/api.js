// The page's requests over HTTP: tokens, groups, members, messages, notifications. Tokens are kept in sessionStorage,
// one login per window; or in localStorage if the user stays logged in, so that all tabs share them.

import { parseJson } from "../client/chatws.js";
import { device, tab } from "./storage.js";

/** @import { Id, HistoryPage } from "../client/chatws.js" */

/** @typedef {{ access: string, refresh: string }} Tokens */
/** @typedef {{ userId?: Id, name?: string, avatar?: string }} Claims */
/** @import { Shelf } from "./storage.js" */

/**
 * A chat group in the list of a user's groups. Times are Unix seconds.
 * @typedef {object} GroupData
 * @property {string} group_id
 * @property {string} name
 * @property {string} cover_url
 * @property {number} member_count
 * @property {string} last_message
 * @property {string} last_sender_name
 * @property {number | string} last_message_at
 * @property {number} [unread_count] if the service counts
 */

/** @typedef {{ user_id: Id, read_id?: string }} MemberData */

/**
 * @typedef {object} NotificationData
 * @property {string} notification_id
 * @property {string} title
 * @property {string} content
 * @property {number | string} created_at Unix seconds
 * @property {boolean} is_read
 */

/** The path of the page, which is not `/` if a proxy serves it below another path. */
export const BASE = document.documentElement.dataset.base ?? "/";
/** The name of what this page stores. Pages below different paths of one host share the storage. */
export const STORE = BASE === "/" ? "chatws" : `chatws:${BASE}`;
const REQUEST_TIMEOUT_MS = 15_000;
const PAGE_SIZE = 100;
const MAX_MEMBER_PAGES = 5;

/** A request that was refused. `final`: the user has to log in again. */
export class Refused extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
    this.final = status === 401;
  }
}

const shelf = () => (tab.get(STORE) ? tab : device);

/** @returns {Tokens | null} */
export function tokens() {
  const kept = shelf().get(STORE);
  return typeof kept?.access === "string" ? kept : null;
}

/** @param {string} access @param {string} refresh @param {Shelf} [where] */
function keep(access, refresh, where = shelf()) {
  where.set(STORE, { access, refresh });
}

export function forget() {
  tab.remove(STORE);
  device.remove(STORE);
}

/**
 * Call `act` when another tab with the same login has logged out.
 * @param {() => void} act
 */
export function onForgotten(act) {
  addEventListener("storage", ({ key, newValue }) => {
    if (key === STORE && newValue === null && !tab.get(STORE)) act();
  });
}

/** @param {string} username @param {string} password @param {boolean} stay logged in on this device */
export async function logIn(username, password, stay) {
  const pair = await request("/api/token/", { body: { username, password } });
  keep(pair.access, pair.refresh, stay ? device : tab);
}

/** @param {string} access */
export function useToken(access) {
  keep(access.trim(), "", tab);
}

/**
 * Return the claims of the access token, unverified; none if it can't be read.
 * @returns {Claims}
 */
export function claims() {
  try {
    const text = (tokens()?.access ?? "").split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return Object(parseJson(new TextDecoder().decode(bytes)));
  } catch {
    return {}; // the server will refuse it
  }
}

/**
 * Return the access token. Only the server judges whether it has expired: this device's clock may be wrong.
 * @param {boolean} fresh refresh it first: the present one was refused, or expires soon
 */
export async function accessToken(fresh) {
  const { access, refresh } = tokens() ?? {};
  if (!access) throw new Refused(401, "no login");
  if (!fresh) return access;
  if (!refresh) throw new Refused(401, "the token has expired");
  refreshing ??= refreshed(refresh).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

/** @type {Promise<string> | null} */
let refreshing = null; // several requests may need it at once

/**
 * @param {string} refresh
 * @returns {Promise<string>}
 */
async function refreshed(refresh) {
  const answer = await request("/api/token/refresh/", { body: { refresh } });
  const now = tokens();
  if (!now) throw new Refused(401, "no login"); // logged out meanwhile
  if (now.refresh !== refresh) return now.access; // another tab was faster
  keep(answer.access, answer.refresh ?? refresh);
  return answer.access;
}

/**
 * The token function of the client. Returns null if the user has to log in; throws if the request failed.
 * @param {{ fresh: boolean }} want
 */
export async function provideToken({ fresh }) {
  try {
    return await accessToken(fresh);
  } catch (error) {
    if (error instanceof Refused && error.final) return null;
    throw error;
  }
}

/**
 * Return all groups of a user.
 * @param {string} userId
 */
export async function groups(userId) {
  /** @type {GroupData[]} */
  const found = [];
  for (let page = 1; ; page += 1) {
    const data = await get(`/api/users/${userId}/groups?page=${page}&page_size=${PAGE_SIZE}`);
    found.push(...data.groups);
    if (data.groups.length === 0 || found.length >= data.total) return found;
  }
}

/**
 * Return the first 500 members of a group. `read_id`: the last message that the member read, if the service knows.
 * @param {string} groupId
 */
export async function members(groupId) {
  /** @type {MemberData[]} */
  const found = [];
  for (let page = 1; page <= MAX_MEMBER_PAGES; page += 1) {
    const data = await get(`/api/groups/${encodeURIComponent(groupId)}/members?page=${page}&page_size=${PAGE_SIZE}`);
    found.push(...data.members);
    if (data.members.length === 0 || found.length >= data.total) break;
  }
  return found;
}

/**
 * Return the messages of a group before an id, newest first.
 * @param {string} groupId @param {string} before @param {number} limit
 * @returns {Promise<HistoryPage>}
 */
export function messages(groupId, before, limit) {
  return get(`/api/messages?${new URLSearchParams({ group_id: groupId, before_id: before, limit: String(limit) })}`);
}

export const MAX_NOTIFICATIONS = 50;

/**
 * Return the newest notifications.
 * @param {string} userId
 * @returns {Promise<{ notifications: NotificationData[], unread_count?: number }>}
 */
export function notifications(userId) {
  const query = { user_id: userId, page: "1", page_size: String(MAX_NOTIFICATIONS) };
  return get(`/api/notifications?${new URLSearchParams(query)}`);
}

/**
 * Mark notifications as read.
 * @param {string} userId @param {string[] | null} ids null: all
 */
export function markNotificationsRead(userId, ids) {
  const user = Number.isSafeInteger(Number(userId)) ? Number(userId) : userId;
  if (!ids) return post("/api/notifications/read-all", { user_id: user });
  return post("/api/notifications/read", { user_id: user, notification_ids: ids });
}

/** @param {string} path */
const get = (path) => authorized(path);

/** @param {string} path @param {object} body */
const post = (path, body) => authorized(path, body);

/**
 * Request with the access token; with a fresh one, once, if that is refused.
 * @param {string} path @param {object} [body]
 */
async function authorized(path, body) {
  const access = await accessToken(false);
  const ask = async (/** @type {string} */ token) =>
    (await request(path, { headers: { Authorization: `Bearer ${token}` }, body })).data;
  try {
    return await ask(access);
  } catch (error) {
    if (!(error instanceof Refused && error.final)) throw error;
    const now = tokens()?.access;
    return ask(now && now !== access ? now : await accessToken(true));
  }
}

/**
 * Return the JSON of the answer, unchecked. Posts the body if there is one. Throws `Refused` for an error status.
 * @param {string} path @param {{ body?: object, headers?: Record<string, string> }} [options]
 * @returns {Promise<any>}
 */
async function request(path, { body, headers = {} } = {}) {
  /** @type {{ method?: string, body?: string, headers: Record<string, string>, signal: AbortSignal }} */
  const options = { headers: { ...headers }, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) };
  if (body) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const response = await fetch(BASE + path.slice(1), options);
  const answer = Object(
    await response
      .text()
      .then(parseJson)
      .catch(() => ({})),
  );
  if (!response.ok) throw new Refused(response.status, answer.message ?? answer.detail ?? `HTTP ${response.status}`);
  return answer;
}

// The page's requests over HTTP: tokens, groups, members, messages, notifications. Tokens are kept in sessionStorage,
// one login per window; or in localStorage if the user stays logged in, so that all tabs share them.

/** @import { Id, HistoryPage } from "../client/chatws.js" */

/** @typedef {{ access: string, refresh: string }} Tokens */
/** @typedef {{ userId?: Id, name?: string, avatar?: string, exp?: number }} Claims */

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
const RENEW_SECONDS = 5; // a token that expires sooner is refreshed first
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

const shelf = () => (sessionStorage.getItem(STORE) ? sessionStorage : localStorage);

/** @returns {Tokens | null} */
export function tokens() {
  return JSON.parse(shelf().getItem(STORE) ?? "null");
}

/** @param {string} access @param {string} refresh @param {Storage} [where] */
function keep(access, refresh, where = shelf()) {
  where.setItem(STORE, JSON.stringify({ access, refresh }));
}

export function forget() {
  sessionStorage.removeItem(STORE);
  localStorage.removeItem(STORE);
}

/**
 * Call `act` when another tab with the same login has logged out.
 * @param {() => void} act
 */
export function onForgotten(act) {
  addEventListener("storage", ({ key, newValue }) => {
    if (key === STORE && newValue === null && !sessionStorage.getItem(STORE)) act();
  });
}

/** @param {string} username @param {string} password @param {boolean} stay logged in on this device */
export async function logIn(username, password, stay) {
  const pair = await request("/api/token/", { body: { username, password } });
  keep(pair.access, pair.refresh, stay ? localStorage : sessionStorage);
}

/** @param {string} access */
export function useToken(access) {
  keep(access.trim(), "", sessionStorage);
}

/**
 * Return the claims of the access token, unverified; none if it can't be read.
 * @returns {Claims}
 */
export function claims() {
  try {
    const text = (tokens()?.access ?? "").split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))));
  } catch {
    return {}; // the server will refuse it
  }
}

/**
 * Return the access token. Refresh it first if it expires within seconds.
 * @param {boolean} fresh refresh it in any case: the present one was refused
 * @returns {Promise<string>}
 */
export async function accessToken(fresh) {
  const { access, refresh } = tokens() ?? {};
  if (!access) throw new Refused(401, "no login");
  const left = (claims().exp ?? Infinity) - Date.now() / 1000;
  if (!fresh && !(left < RENEW_SECONDS)) return access;
  if (!refresh) throw new Refused(401, "the token has expired");
  const answer = await request("/api/token/refresh/", { body: { refresh } });
  if (tokens()?.refresh !== refresh) return accessToken(false); // logged out meanwhile, or another tab was faster
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
async function get(path) {
  return (await request(path, { headers: await bearer() })).data;
}

/** @param {string} path @param {object} body */
async function post(path, body) {
  return (await request(path, { headers: await bearer(), body })).data;
}

async function bearer() {
  return { Authorization: `Bearer ${await accessToken(false)}` };
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
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.message ?? answer.detail ?? `HTTP ${response.status}`);
  return answer;
}

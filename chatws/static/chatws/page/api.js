// The HTTP side of the page: tokens, groups, notifications. Tokens live in sessionStorage, one login a window, or in
// localStorage where the user stays logged in: then all tabs share them.

const STORE = "chatws";

/** A request that was refused; `final` if the user has to log in again. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
    this.final = status === 401;
  }
}

const shelf = () => (sessionStorage.getItem(STORE) ? sessionStorage : localStorage);

export function tokens() {
  return JSON.parse(shelf().getItem(STORE) ?? "null");
}

function keep(access, refresh, where = shelf()) {
  where.setItem(STORE, JSON.stringify({ access, refresh }));
}

export function forget() {
  sessionStorage.removeItem(STORE);
  localStorage.removeItem(STORE);
}

/** Call back when another tab that shares our login has logged out. */
export function onForgotten(act) {
  addEventListener("storage", ({ key, newValue }) => {
    if (key === STORE && newValue === null && !sessionStorage.getItem(STORE)) act();
  });
}

export async function logIn(username, password, stay) {
  const pair = await request("/api/token/", { body: { username, password } });
  keep(pair.access, pair.refresh, stay ? localStorage : sessionStorage);
}

export function useToken(access) {
  keep(access.trim(), "", sessionStorage);
}

/** What the token says of its user. */
export function claims() {
  try {
    const text = tokens().access.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))));
  } catch {
    return {}; // not ours to judge: the server will
  }
}

/** The access token; a fresh one where the present one was refused or is about to expire. */
export async function accessToken(fresh) {
  const { access, refresh } = tokens() ?? {};
  if (!access) throw new Refused(401, "no login");
  if (!fresh && !(claims().exp - Date.now() / 1000 < 5)) return access;
  if (!refresh) throw new Refused(401, "the token has expired");
  const answer = await request("/api/token/refresh/", { body: { refresh } });
  if (tokens()?.refresh !== refresh) return accessToken(false); // logged out meanwhile, or another tab was faster
  keep(answer.access, answer.refresh ?? refresh);
  return answer.access;
}

/** For the client: a token, or null if the user has to log in; it throws if there is none just now. */
export async function provideToken({ fresh }) {
  try {
    return await accessToken(fresh);
  } catch (error) {
    if (error.final) return null;
    throw error;
  }
}

/** Every group of a user, page by page. */
export async function groups(userId) {
  const found = [];
  for (let page = 1; ; page += 1) {
    const data = await get(`/api/users/${userId}/groups?page=${page}&page_size=100`);
    found.push(...data.groups);
    if (data.groups.length === 0 || found.length >= data.total) return found;
  }
}

/** The first 500 members of a group, each with the `read_id` up to which it has read, if the service knows. */
export async function members(groupId) {
  const found = [];
  for (let page = 1; page <= 5; page += 1) {
    const data = await get(`/api/groups/${encodeURIComponent(groupId)}/members?page=${page}&page_size=100`);
    found.push(...data.members);
    if (data.members.length === 0 || found.length >= data.total) break;
  }
  return found;
}

/** Messages of a group before an id, newest first. */
export function messages(groupId, before, limit) {
  return get(`/api/messages?${new URLSearchParams({ group_id: groupId, before_id: before, limit })}`);
}

export const MOST_NOTIFICATIONS = 50;

/** The newest notifications: `{ notifications, unread_count }`. */
export function notifications(userId) {
  return get(`/api/notifications?${new URLSearchParams({ user_id: userId, page: 1, page_size: MOST_NOTIFICATIONS })}`);
}

/** Mark notifications read: these, or all. */
export function markNotificationsRead(userId, ids) {
  const user = Number.isSafeInteger(Number(userId)) ? Number(userId) : userId;
  if (!ids) return post("/api/notifications/read-all", { user_id: user });
  return post("/api/notifications/read", { user_id: user, notification_ids: ids });
}

async function get(path) {
  return (await request(path, { headers: await bearer() })).data;
}

async function post(path, body) {
  return (await request(path, { headers: await bearer(), body })).data;
}

async function bearer() {
  return { Authorization: `Bearer ${await accessToken(false)}` };
}

async function request(path, { body, headers = {} } = {}) {
  const options = { headers: { ...headers }, signal: AbortSignal.timeout(15_000) };
  if (body) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.message ?? answer.detail ?? `HTTP ${response.status}`);
  return answer;
}

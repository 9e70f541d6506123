// The HTTP side of the page: tokens and the chat API. Tokens live in sessionStorage, one login a window.

const STORE = "chatws";

/** A request that was refused; `final` if the user has to log in again. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
    this.final = status === 401;
  }
}

export function tokens() {
  return JSON.parse(sessionStorage.getItem(STORE) ?? "null");
}

function keep(access, refresh) {
  sessionStorage.setItem(STORE, JSON.stringify({ access, refresh }));
}

export function forget() {
  sessionStorage.removeItem(STORE);
}

export async function logIn(username, password) {
  const pair = await request("/api/token/", { body: { username, password } });
  keep(pair.access, pair.refresh);
}

export function useToken(access) {
  keep(access.trim(), "");
}

/** The access token; a fresh one where the present one was refused or is about to expire. */
export async function accessToken(fresh) {
  const { access, refresh } = tokens() ?? {};
  if (!access) throw new Refused(401, "Please log in.");
  if (!fresh && secondsLeft(access) > 5) return access;
  if (!refresh) throw new Refused(401, "The token has expired.");
  try {
    const answer = await request("/api/token/refresh/", { body: { refresh } });
    keep(answer.access, answer.refresh ?? refresh);
    return answer.access;
  } catch (error) {
    if (error.final) throw new Refused(401, "The login has expired.");
    throw error;
  }
}

/** Every group of a user, page by page. */
export async function groups(userId) {
  const found = [];
  for (let page = 1; ; page += 1) {
    const { data } = await get(`/api/users/${userId}/groups?page=${page}&page_size=100`);
    found.push(...data.groups);
    if (data.groups.length === 0 || found.length >= data.total) return found;
  }
}

/** Messages of a group, newest first. */
export async function messages(groupId, beforeId = "", limit = 50) {
  const query = new URLSearchParams({ group_id: groupId, before_id: beforeId, limit });
  return (await get(`/api/messages?${query}`)).data;
}

async function get(path) {
  return request(path, { headers: { Authorization: `Bearer ${await accessToken(false)}` } });
}

async function request(path, { body, headers = {} } = {}) {
  const options = { headers, signal: AbortSignal.timeout(15_000) };
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

function secondsLeft(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return claims.exp - Date.now() / 1000;
  } catch {
    return Infinity; // not ours to judge: the server will
  }
}

// The overview on the index of Django's admin: asks for figures every few seconds and shows them in tables with bars.
// A row stays the same element as long as it is shown, so that its link keeps the focus.

/** @typedef {{ away: string }} Away replaces a part whose source is unavailable */
/** @typedef {{ users: number, connections: number, gateways: number }} Counts of the cluster */
/** @typedef {Counts & { top: { name: string, connections: number }[] }} Online */
/** @typedef {{ total: number, codes: number, top: { code: number, meaning: string, count: number }[] }} Closes */
/** @typedef {{ topic: string, lag: number | null, dead_letters: number }} Topic */

/**
 * The figures that the server sends (realtime/admin/overview.py).
 * @typedef {{ online: Online | Away, topics: Topic[] | Away, closes: Closes | Away }} Overview
 */

/**
 * A row of a chart.
 * @typedef {object} ChartRow
 * @property {string | number} key
 * @property {string} name
 * @property {string} [note]
 * @property {number | null} count null if unknown
 * @property {string} [link]
 * @property {string} [kind] class of the bar
 */

/**
 * @template {string} Tag
 * @typedef {Tag extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[Tag] : HTMLElement} Named
 */
/**
 * The element that `make` makes from "tag" or "tag.class".
 * @template {string} Tag
 * @typedef {Tag extends `${infer Name}.${string}` ? Named<Name> : Named<Tag>} Made
 */

const REFRESH_MS = 3000;
const REQUEST_TIMEOUT_MS = 5000;
const MAX_POINTS = 100; // of the line: five minutes

const WORDS = {
  en: {
    title: "Right now",
    users: "Online users",
    connections: "Connections",
    gateways: "Gateways",
    perGateway: "Connections per gateway",
    closes: "Closes in the last 24 hours",
    lag: "Entries waiting for the relay",
    deadLetters: "Dead letters",
    gateway: "Gateway",
    code: "Close code",
    topic: "Topic",
    count: "Number",
    noGateways: "No gateway is running.",
    noCloses: "No connection was closed.",
    noTopics: "No relay has started yet.",
    noDeadLetters: "There are no dead letters.",
    unknown: "unknown",
    more: "and {n} more ({sum})",
    loading: "Loading…",
    updated: "Updated at {time}",
    stale: "No new figures since {time}: {why}",
    never: "No figures: {why}",
    pause: "Pause",
    refused: "you are logged out or lack the permission.",
    failed: "the server answered {status}.",
    unreachable: "the server can't be reached.",
    line: "Users in the last minutes: {low} to {high}",
    here: "This gateway",
    what: "What it needs",
    state: "State",
    ok: "in order",
    parts: {
      gateway: "Gateway",
      redis: "Redis",
      chat_rpc: "Chat service",
      chat_rpc_instances: "Its instances",
      user_rpc: "User service",
      user_rpc_instances: "Its instances",
      jwks: "Key set",
    },
  },
  zh: {
    title: "实时状态",
    users: "在线用户",
    connections: "连接数",
    gateways: "网关数",
    perGateway: "各网关的连接数",
    closes: "最近 24 小时的连接关闭",
    lag: "等待中继的条目",
    deadLetters: "死信",
    gateway: "网关",
    code: "关闭代码",
    topic: "主题",
    count: "数量",
    noGateways: "没有正在运行的网关。",
    noCloses: "没有连接被关闭。",
    noTopics: "中继尚未启动过。",
    noDeadLetters: "没有死信。",
    unknown: "未知",
    more: "以及另外 {n} 个（{sum}）",
    loading: "正在加载…",
    updated: "更新于 {time}",
    stale: "自 {time} 起没有新数据：{why}",
    never: "没有数据：{why}",
    pause: "暂停",
    refused: "您已退出登录，或无权查看。",
    failed: "服务器返回 {status}。",
    unreachable: "无法连接服务器。",
    line: "最近几分钟的用户：{low} 至 {high}",
    here: "当前网关",
    what: "依赖",
    state: "状态",
    ok: "正常",
    parts: {
      gateway: "网关",
      redis: "Redis",
      chat_rpc: "聊天服务",
      chat_rpc_instances: "实例",
      user_rpc: "用户服务",
      user_rpc_instances: "实例",
      jwks: "密钥集",
    },
  },
};

const root = /** @type {HTMLElement} */ (document.getElementById("overview"));
const language = document.documentElement.lang;
const words = /^zh\b/i.test(language) ? WORDS.zh : WORDS.en;
/** @param {string} text @param {Record<string, string | number>} values */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_all, name) => String(values[name]));
/** @type {Record<string, string>} */
const parts = words.parts;
const number = new Intl.NumberFormat(language || "en");
const clock = new Intl.DateTimeFormat(language || "en", { timeStyle: "medium" });

/**
 * Make an element. The props are set as its properties.
 * @template {string} Tag
 * @param {Tag} tag with its classes: "div.card.figures"
 * @param {Partial<Made<Tag>>} [props]
 * @param {(Node | string)[]} children
 */
function make(tag, props, ...children) {
  const [name = "", ...classes] = tag.split(".");
  const made = Object.assign(document.createElement(name), props);
  made.classList.add(...classes);
  made.append(...children);
  return /** @type {Made<Tag>} */ (/** @type {HTMLElement} */ (made));
}

/**
 * Change the text of an element if it differs: otherwise a selection in it stays.
 * @param {Node} element @param {string} text
 */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A card with a table of named counts. */
class Chart {
  /**
   * @param {string} title @param {string} first heading of the first column
   * @param {string} nothing shown without rows @param {string} id of the heading
   */
  constructor(title, first, nothing, id) {
    this.nothing = nothing;
    /** @type {Map<string | number, HTMLTableRowElement>} */
    this.rows = new Map();
    this.body = make("tbody");
    const head = make(
      "thead.visually-hidden",
      {},
      make("tr", {}, make("th", { scope: "col" }, first), make("th", { scope: "col" }, words.count)),
    );
    this.table = make("table", {}, head, this.body);
    this.table.setAttribute("aria-labelledby", id);
    this.note = make("p.note", {}, words.loading);
    this.element = make("div.card", {}, make("h3", { id }, title), this.table, this.note);
    this.table.hidden = true;
  }

  /** @param {ChartRow[]} rows @param {string} [more] about rows that are not shown */
  show(rows, more = "") {
    this.element.classList.remove("away");
    this.table.hidden = rows.length === 0;
    write(this.note, rows.length ? more : this.nothing);
    this.note.hidden = rows.length > 0 && !more;
    const most = Math.max(1, ...rows.map((row) => row.count ?? 0));
    const keys = new Set(rows.map((row) => row.key));
    for (const [key, row] of this.rows) {
      if (!keys.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
    rows.forEach((row, place) => {
      const shown = this.#row(row, most);
      if (this.body.children[place] !== shown) this.body.insertBefore(shown, this.body.children[place] ?? null);
    });
  }

  /** @param {string} why */
  fail(why) {
    this.element.classList.add("away");
    this.table.hidden = true;
    this.note.hidden = false;
    write(this.note, why);
  }

  /** @param {ChartRow} row @param {number} most the largest count */
  #row({ key, name, note = "", count, link = "", kind = "" }, most) {
    let row = this.rows.get(key);
    if (!row) {
      const label = link ? make("a", { href: link }, name) : make("span", {}, name);
      row = make(
        "tr",
        {},
        make(
          "th",
          { scope: "row" },
          label,
          ...(note ? [" ", make("span.meaning", {}, note)] : []),
          make("span.bar", { ariaHidden: "true" }, make("span")),
        ),
        make("td"),
      );
      this.rows.set(key, row);
    }
    row.className = count ? kind : "";
    const bar = /** @type {HTMLElement} */ (row.querySelector(".bar > span"));
    bar.style.inlineSize = `${(100 * (count ?? 0)) / most}%`;
    write(/** @type {Node} */ (row.lastChild), count === null ? words.unknown : number.format(count));
    return row;
  }
}

/** @type {("users" | "connections" | "gateways")[]} */
const FIGURES = ["users", "connections", "gateways"];

/** The large figures, and a line of the number of users who were online in the last minutes. */
class Figures {
  constructor() {
    /** @type {number[]} */
    this.points = [];
    this.values = { users: make("dd", {}, "–"), connections: make("dd", {}, "–"), gateways: make("dd", {}, "–") };
    const list = make("dl");
    for (const name of FIGURES) list.append(make("div", {}, make("dt", {}, words[name]), this.values[name]));
    this.line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.line.setAttribute("viewBox", "0 0 100 40");
    this.line.setAttribute("preserveAspectRatio", "none");
    this.line.setAttribute("aria-hidden", "true");
    this.paths = ["area", "stroke"].map((name) => {
      const path = document.createElementNS(this.line.namespaceURI, "path");
      path.classList.add(name);
      this.line.append(path);
      return path;
    });
    this.note = make("p.note", {}, words.loading);
    this.element = make("div.card.figures", {}, list, make("div.line", {}, this.line, this.note));
  }

  /** @param {Counts} online */
  show(online) {
    this.element.classList.remove("away");
    for (const name of FIGURES) write(this.values[name], number.format(online[name]));
    this.points = [...this.points, online.users].slice(-MAX_POINTS);
    this.#draw();
  }

  /** @param {string} why */
  fail(why) {
    this.element.classList.add("away");
    for (const value of Object.values(this.values)) write(value, "–");
    write(this.note, why);
  }

  #draw() {
    const [low, high] = [Math.min(...this.points), Math.max(...this.points)];
    const y = (/** @type {number} */ value) => (high === low ? 20 : 37 - (34 * (value - low)) / (high - low));
    const shown = this.points.length > 1 ? this.points : [low, low];
    const line = shown.map(
      (value, place) => `${((100 * place) / (shown.length - 1)).toFixed(2)},${y(value).toFixed(1)}`,
    );
    this.paths[0].setAttribute("d", `M0,40L${line.join("L")}L100,40Z`);
    this.paths[1].setAttribute("d", `M${line.join("L")}`);
    write(this.note, fill(words.line, { low: number.format(low), high: number.format(high) }));
  }
}

/** The states of the services of the gateway that answered, and the instances that it found. */
class States {
  constructor() {
    this.body = make("tbody");
    const head = make(
      "thead.visually-hidden",
      {},
      make("tr", {}, make("th", { scope: "col" }, words.what), make("th", { scope: "col" }, words.state)),
    );
    const table = make("table.states", {}, head, this.body);
    table.setAttribute("aria-labelledby", "overview-here");
    this.element = make("div.card", { hidden: true }, make("h3", { id: "overview-here" }, words.here), table);
  }

  /** @param {Record<string, string | string[]>} states */
  show(states) {
    this.element.hidden = false;
    const rows = Object.entries(states).map(([part, state]) => {
      const lines = Array.isArray(state) ? state : [state === "ok" ? words.ok : state];
      return make(
        Array.isArray(state) || state === "ok" ? "tr" : "tr.away",
        {},
        make("th", { scope: "row" }, parts[part] ?? part),
        make("td", {}, ...lines.map((line) => make("div", {}, line))),
      );
    });
    if (this.body.textContent !== rows.map((row) => row.textContent).join("")) this.body.replaceChildren(...rows);
  }

  fail() {
    this.element.hidden = true;
  }
}

const { source = "", connections, deadLetters, ready } = root.dataset;
/** @param {string | undefined} page @param {Record<string, string>} values */
const query = (page, values) => page && `${page}?${new URLSearchParams(values)}`;
/** @param {number} code */
const kindOf = (code) => (code >= 4500 || code === 1006 ? "bad" : code >= 4400 ? "odd" : "");

const figures = new Figures();
const gateways = new Chart(words.perGateway, words.gateway, words.noGateways, "overview-gateways");
const closes = new Chart(words.closes, words.code, words.noCloses, "overview-closes");
const lag = new Chart(words.lag, words.topic, words.noTopics, "overview-lag");
const letters = new Chart(words.deadLetters, words.topic, words.noDeadLetters, "overview-dead-letters");
const here = new States();
const state = make("p.state", {}, words.loading);
const problem = make("p.problem", { hidden: true });
problem.setAttribute("role", "status");
const pause = make("button", { type: "button", ariaPressed: "false" }, words.pause);

root.replaceChildren(
  make("div.head", {}, make("h2", { id: "overview-title" }, words.title), state, pause),
  problem,
  figures.element,
  make("div.cards", {}, gateways.element, closes.element, lag.element, letters.element, here.element),
);

/**
 * Return a note about the rows that are not shown.
 * @param {number} count of all rows @param {number} all the sum of their counts @param {ChartRow[]} top the shown rows
 */
function rest(count, all, top) {
  if (count <= top.length) return "";
  const sum = all - top.reduce((total, row) => total + (row.count ?? 0), 0);
  return fill(words.more, { n: number.format(count - top.length), sum: number.format(sum) });
}

/** @param {Overview} overview */
function show({ online, closes: closed, topics }) {
  if ("away" in online) {
    figures.fail(online.away);
    gateways.fail(online.away);
  } else {
    figures.show(online);
    const rows = online.top.map(({ name, connections: count }) => ({
      key: name,
      name,
      count,
      link: query(connections, { node: name, open: "1" }),
    }));
    gateways.show(rows, rest(online.gateways, online.connections, rows));
  }
  if ("away" in closed) closes.fail(closed.away);
  else {
    const rows = closed.top.map(({ code, meaning, count }) => ({
      key: code,
      name: String(code),
      note: meaning,
      count,
      kind: kindOf(code),
      link: query(connections, { code: String(code) }),
    }));
    closes.show(rows, rest(closed.codes, closed.total, rows));
  }
  if ("away" in topics) {
    lag.fail(topics.away);
    letters.fail(topics.away);
  } else {
    lag.show(topics.map(({ topic, lag: count }) => ({ key: topic, name: topic, count, kind: "odd" })));
    letters.show(
      topics
        .filter(({ dead_letters: count }) => count)
        .map(({ topic, dead_letters: count }) => ({
          key: topic,
          name: topic,
          count,
          kind: "bad",
          link: query(deadLetters, { topic }),
        })),
    );
  }
}

let last = "";

async function ask() {
  let why;
  try {
    const answer = await fetch(source, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS), cache: "no-store" });
    if (answer.ok) show(await answer.json());
    else if (answer.status === 403) why = words.refused;
    else why = (await answer.json().catch(() => ({}))).away ?? fill(words.failed, { status: answer.status });
  } catch {
    why = words.unreachable;
  }
  if (why === undefined) last = clock.format(new Date());
  write(state, last && fill(words.updated, { time: last }));
  state.hidden = why !== undefined;
  problem.hidden = why === undefined;
  write(problem, why === undefined ? "" : fill(last ? words.stale : words.never, { time: last, why }));
}

/**
 * Ask the gateway for its state and those of its services.
 * @param {string} url
 */
async function askHere(url) {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS), cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    here.show(await answer.json());
  } catch {
    here.fail(); // a proxy may hide this path from browsers
  }
}

let timer = 0;
let asking = false;

/** Ask again and again, one request at a time, but not while the page is hidden or paused. */
async function run() {
  clearTimeout(timer);
  if (asking || document.hidden || pause.ariaPressed === "true") return;
  asking = true;
  await Promise.all([ask(), ...(ready ? [askHere(ready)] : [])]);
  asking = false;
  timer = setTimeout(run, REFRESH_MS);
}

pause.addEventListener("click", () => {
  pause.ariaPressed = String(pause.ariaPressed !== "true");
  run();
});
document.addEventListener("visibilitychange", run);
run();

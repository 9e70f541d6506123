// The page's words in English and Simplified Chinese, and times in the user's language.

/** @typedef {keyof typeof WORDS} Language */
/** @typedef {keyof typeof WORDS["en"]} Word */

const WORDS = {
  en: {
    chat: "Chat",
    name: "Name",
    password: "Password",
    token: "Token",
    logIn: "Log in",
    logOut: "Log out",
    stayLoggedIn: "Stay logged in on this device",
    pasteToken: "Tokens come from your own service. Paste one to log in.",
    wrongLogin: "Name or password is wrong.",
    loginExpired: "Your login has expired. Please log in again.",
    loginInvalid: "This login is not valid.",
    logInFailed: "You could not be logged in: {why}.",
    unsentAtLogOut: "Messages that are not sent yet ({n}) will be lost. Log out?",
    online: "Online",
    connecting: "Connecting…",
    offline: "Offline",
    stopped: "Disconnected",
    bannerOffline: "You are offline. What you write is kept in this tab and sent by itself once you are back.",
    bannerWaiting: "The connection is lost, trying again. What you write is kept in this tab and sent by itself.",
    bannerStopped: "Disconnected: {why}. What you write is kept in this tab; nothing is sent until you connect again.",
    waitingToBeSent: "{n} waiting to be sent.",
    connectAgain: "Connect again",
    why4409: "opened on too many devices",
    why4403: "closed by an administrator",
    why4400: "this page sent something wrong",
    groups: "Groups",
    noGroups: "You are not in any group yet.",
    chooseGroup: "Choose a group to begin.",
    backToGroups: "Back to the groups",
    unread: "{n} unread",
    you: "You",
    image: "Image",
    messages: "Messages",
    message: "Message",
    send: "Send",
    someone: "Someone",
    loading: "Loading…",
    loadFailed: "Could not be loaded: {why}",
    again: "Try again",
    beginning: "This is the beginning of the conversation.",
    newMessages: "New messages",
    newest: "Jump to newest",
    newBelow: "{n} new below",
    today: "Today",
    yesterday: "Yesterday",
    sending: "Sending",
    waiting: "Waiting",
    sent: "Sent",
    read: "Read",
    readBy: "Read by {n}",
    notSent: "Not sent: {why}",
    remove: "Remove",
    recalled: "This message was recalled.",
    typingOne: "{name} is typing…",
    typingTwo: "{name} and {other} are typing…",
    typingMany: "Several people are typing…",
    onlineCount: "{n} of {total} online",
    onlineNow: "online",
    sendImage: "Send an image",
    imageAddress: "Address of the image (https://…)",
    cancel: "Cancel",
    imageBad: "This is not the address of an image on the web.",
    imageNone: "No image could be loaded from this address.",
    showImage: "Show image from {host}",
    imageFailed: "The image could not be loaded.",
    openImage: "Open image",
    close: "Close",
    notifications: "Notifications",
    noNotifications: "No notifications.",
    markAllRead: "Mark all read",
    onlyLive: "Earlier notifications are not available here; new ones appear as they arrive.",
    settings: "Settings",
    language: "Language",
    theme: "Appearance",
    auto: "Automatic",
    light: "Light",
    dark: "Dark",
    alwaysImages: "Show images without asking",
    left: "You are no longer in this group.",
    charactersLeft: "{n} characters left",
    error403: "you are not in this group",
    error409: "the group was disbanded",
    error413: "too long",
    error429: "too fast",
    error400: "it was rejected",
    error401: "your login is not valid",
    error404: "it was not found",
    error500: "the server had an error",
    error501: "the service does not support that",
    error503: "the service is unavailable",
    unreachable: "the server can't be reached",
    disconnected: "the connection was closed",
  },
  "zh-Hans": {
    chat: "聊天",
    name: "用户名",
    password: "密码",
    token: "令牌",
    logIn: "登录",
    logOut: "退出登录",
    stayLoggedIn: "在此设备上保持登录",
    pasteToken: "令牌由您自己的服务签发，粘贴后即可登录。",
    wrongLogin: "用户名或密码错误。",
    loginExpired: "登录已过期，请重新登录。",
    loginInvalid: "此登录无效。",
    logInFailed: "登录失败：{why}。",
    unsentAtLogOut: "还有 {n} 条消息未发送，退出后将丢失。确定退出吗？",
    online: "在线",
    connecting: "正在连接…",
    offline: "离线",
    stopped: "已断开",
    bannerOffline: "您已离线。您写的内容会保留在此标签页中，恢复连接后自动发送。",
    bannerWaiting: "连接已断开，正在重试。您写的内容会保留在此标签页中并自动发送。",
    bannerStopped: "已断开：{why}。您写的内容会保留在此标签页中；重新连接之前不会发送。",
    waitingToBeSent: "{n} 条等待发送。",
    connectAgain: "重新连接",
    why4409: "登录的设备过多",
    why4403: "被管理员关闭",
    why4400: "此页面发送了错误的内容",
    groups: "群组",
    noGroups: "您还没有加入任何群组。",
    chooseGroup: "选择一个群组开始聊天。",
    backToGroups: "返回群组列表",
    unread: "{n} 条未读",
    you: "我",
    image: "图片",
    messages: "消息",
    message: "消息",
    send: "发送",
    someone: "有人",
    loading: "正在加载…",
    loadFailed: "加载失败：{why}",
    again: "重试",
    beginning: "这里是聊天的开始。",
    newMessages: "新消息",
    newest: "跳到最新",
    newBelow: "下方有 {n} 条新消息",
    today: "今天",
    yesterday: "昨天",
    sending: "发送中",
    waiting: "等待中",
    sent: "已发送",
    read: "已读",
    readBy: "{n} 人已读",
    notSent: "未发送：{why}",
    remove: "移除",
    recalled: "此消息已撤回。",
    typingOne: "{name} 正在输入…",
    typingTwo: "{name} 和 {other} 正在输入…",
    typingMany: "多人正在输入…",
    onlineCount: "{total} 人中 {n} 人在线",
    onlineNow: "在线",
    sendImage: "发送图片",
    imageAddress: "图片地址（https://…）",
    cancel: "取消",
    imageBad: "这不是有效的图片网址。",
    imageNone: "无法从该地址加载图片。",
    showImage: "显示来自 {host} 的图片",
    imageFailed: "图片无法加载。",
    openImage: "打开图片",
    close: "关闭",
    notifications: "通知",
    noNotifications: "没有通知。",
    markAllRead: "全部标为已读",
    onlyLive: "此处无法查看以前的通知；新通知会即时显示。",
    settings: "设置",
    language: "语言",
    theme: "外观",
    auto: "自动",
    light: "浅色",
    dark: "深色",
    alwaysImages: "直接显示图片",
    left: "您已不在该群组中。",
    charactersLeft: "还可输入 {n} 个字符",
    error403: "您不在该群组中",
    error409: "群组已解散",
    error413: "内容过长",
    error429: "发送过快",
    error400: "内容未被接受",
    error401: "登录无效",
    error404: "内容不存在",
    error500: "服务器出错",
    error501: "服务不支持此操作",
    error503: "服务暂时不可用",
    unreachable: "无法连接到服务器",
    disconnected: "连接已关闭",
  },
};

/** @type {Record<Language, string>} */
export const LANGUAGES = { en: "English", "zh-Hans": "简体中文" };

/** @type {Language} */
let language = "en";

/**
 * Use the language that was chosen, or else the first of the browser's languages that the page has.
 * @param {string} [chosen]
 */
export function chooseLanguage(chosen) {
  const wanted = typeof chosen === "string" ? [chosen] : navigator.languages;
  const tags = wanted.map((tag) => (/^zh\b/i.test(tag) ? "zh-Hans" : tag.split("-")[0]));
  language = /** @type {Language | undefined} */ (tags.find((tag) => Object.hasOwn(WORDS, tag))) ?? "en";
  document.documentElement.lang = language;
  return language;
}

/**
 * Return the words for a key, with the values in place of `{name}`.
 * @param {Word} key @param {Record<string, string | number | undefined>} [values]
 */
export function t(key, values = {}) {
  const words = WORDS[language][key] ?? key;
  return words.replace(/\{(\w+)\}/g, (_all, name) => String(values[name] ?? ""));
}

/**
 * @param {string} key
 * @returns {key is Word}
 */
export function isWord(key) {
  return key in WORDS[language];
}

/**
 * Return in words why something failed. An error without a code of the server had no answer.
 * @param {any} error a `Refused` of api.js, an error of chatws.js, or anything else that was thrown
 * @returns {string}
 */
export function reason(error) {
  const code = error instanceof DOMException ? undefined : (error.code ?? error.status);
  if (code === undefined) return t("unreachable");
  const key = code < 1000 ? `error${code}` : `why${code}`;
  if (isWord(key)) return t(key);
  return code < 1000 ? error.message : t("disconnected");
}

const LAST_DATE_SECONDS = 8.64e12; // a Date reaches no further

/**
 * Return a time in Unix seconds that a Date can hold: 0 if it is no number, the nearest date if it is beyond all dates.
 * @param {unknown} seconds
 */
export function clamped(seconds) {
  return Math.min(Math.max(Number(seconds) || 0, -LAST_DATE_SECONDS), LAST_DATE_SECONDS);
}

/** @param {unknown} seconds */
export const dateOf = (seconds) => new Date(clamped(seconds) * 1000);

/** @param {Intl.DateTimeFormatOptions} options */
const format = (options) => new Intl.DateTimeFormat(language, options);

/**
 * Return the time of day.
 * @param {number} seconds
 */
export const clock = (seconds) => format({ hour: "2-digit", minute: "2-digit" }).format(dateOf(seconds));

/**
 * Return the day as a key that is equal for all times of that day.
 * @param {number} seconds
 */
export function dayOf(seconds) {
  const date = dateOf(seconds);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

/**
 * Return "Today", "Yesterday", or a date.
 * @param {number} seconds
 */
export function dayName(seconds) {
  const today = new Date();
  // By the calendar: a day on which the clocks change doesn't have 24 hours.
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1, 12);
  if (dayOf(seconds) === dayOf(today.getTime() / 1000)) return t("today");
  if (dayOf(seconds) === dayOf(yesterday.getTime() / 1000)) return t("yesterday");
  const sameYear = dateOf(seconds).getFullYear() === today.getFullYear();
  return format({
    weekday: "long",
    day: "numeric",
    month: "long",
    ...(sameYear ? {} : { year: "numeric" }),
  }).format(dateOf(seconds));
}

/**
 * Return the time of day, or a short date if it isn't today. For lists.
 * @param {number} seconds
 */
export function shortTime(seconds) {
  if (dayOf(seconds) === dayOf(Date.now() / 1000)) return clock(seconds);
  return format({ day: "numeric", month: "short" }).format(dateOf(seconds));
}

export const everyWord = WORDS;

// The rows of the timeline. A row is drawn again if its signature changed.

import { avatar, h, linked } from "./dom.js";
import { clock, dateOf, t } from "./i18n.js";

/** @import { Message, Room, Written } from "./room.js" */

/** @typedef {{ key: string, signature: string, make: () => HTMLElement }} Row */

/**
 * What rows need to know of the page, and the callbacks of their buttons.
 * @typedef {object} Look
 * @property {string} self the user's id
 * @property {Set<string>} online users
 * @property {boolean} alwaysImages
 * @property {string} language
 * @property {boolean} connected
 * @property {() => void} redraw
 * @property {(message: Written) => void} again send a message again
 * @property {(message: Written) => void} remove
 * @property {(url: string) => void} open show an image large
 */

/** @typedef {{ first: boolean, last: boolean }} Block whether the row is the first and the last of its block */

/**
 * @typedef {object} How
 * @property {boolean} mine
 * @property {boolean} first
 * @property {boolean} last
 * @property {number} readers
 * @property {boolean} showsImage
 * @property {boolean} here the sender is online
 * @property {boolean} waits for a connection
 */

/** @type {Set<string>} */
const shown = new Set(); // addresses of images that the user asked for

/**
 * @param {string} key @param {string} text @param {string} [kind]
 * @returns {Row}
 */
export function separator(key, text, kind = "start") {
  return { key, signature: text, make: () => h(`li.separator.${kind}`, { hidden: !text }, h("span", {}, text)) };
}

/**
 * @param {Room} room @param {Message} message @param {Block} block @param {Look} look
 * @returns {Row}
 */
export function messageRow(room, message, { first, last }, look) {
  const mine = message.sender === look.self;
  const readers = mine && message.state === "sent" && message.n ? room.readers(message, look.self) : 0;
  const showsImage = look.alwaysImages || mine || shown.has(message.image);
  const here = !mine && last && look.online.has(message.sender);
  const waits = message.state === "sending" && !look.connected;
  const signature = [
    message.id,
    message.state,
    message.why,
    message.recalled,
    mine,
    first,
    last,
    readers,
    showsImage,
    here,
    waits,
    look.language,
  ].join("|");
  const make = () => draw(message, { mine, first, last, readers, showsImage, here, waits }, look);
  return { key: `m-${message.key}`, signature, make };
}

/** @param {Message} message @param {How} how @param {Look} look */
function draw(message, how, look) {
  const row = h("li.message");
  row.dataset.id = message.key;
  row.classList.toggle("mine", how.mine);
  row.classList.toggle("first", how.first);
  row.classList.toggle("last", how.last);
  row.classList.toggle("pending", message.state === "sending");
  row.classList.toggle("failed", message.state === "failed");
  const bubble = h("div.bubble", {});
  if (how.mine) bubble.append(h("span.sr", {}, `${t("you")}: `));
  else bubble.append(h("span.sender", { className: how.first ? "sender" : "sender sr" }, message.name || t("someone")));
  bubble.append(content(message, how, look), meta(message, how));
  const pieces = h("div.pieces", {}, bubble);
  if (message.state === "failed") pieces.append(failure(/** @type {Written} */ (message), look));
  if (!how.mine) {
    const picture = avatar(message.sender, message.name, message.avatar);
    const corner = h("span.corner", {}, ...(how.last ? [picture] : []));
    if (how.here) corner.append(h("span.dot", { title: t("onlineNow") }, h("span.sr", {}, t("onlineNow"))));
    row.append(corner);
  }
  row.append(pieces);
  return row;
}

/** @param {Message} message @param {How} how @param {Look} look */
function content(message, how, look) {
  if (message.recalled) return h("p.text.recalled", {}, t("recalled"));
  if (message.type !== 2) return h("p.text", { dir: "auto" }, ...linked(message.text));
  const caption = message.text ? [h("p.text", { dir: "auto" }, ...linked(message.text))] : [];
  return h("div.picture", {}, how.showsImage ? picture(message, look) : ask(message, look), ...caption);
}

/**
 * Make a button that shows the image. Its host learns who looks and when, so it is fetched only on request.
 * @param {Message} message @param {Look} look
 */
function ask(message, look) {
  const host = URL.canParse(message.image) ? new URL(message.image).host : message.image;
  const button = h("button.ask", { type: "button" }, t("showImage", { host }));
  button.addEventListener("click", () => {
    shown.add(message.image);
    look.redraw();
  });
  return button;
}

/** @param {Message} message @param {Look} look */
function picture(message, look) {
  const image = h("img", {
    src: message.image,
    alt: message.text || t("image"),
    referrerPolicy: "no-referrer",
    decoding: "async",
  });
  const button = h("button.preview", { type: "button", title: t("openImage"), "aria-label": t("openImage") }, image);
  button.addEventListener("click", () => look.open(message.image));
  image.addEventListener("error", () => {
    const link = h("a", { href: message.image, target: "_blank", rel: "noopener noreferrer" }, message.image);
    button.replaceWith(h("p.text.broken", {}, `${t("imageFailed")} `, /^https?:/.test(message.image) ? link : ""));
  });
  return button;
}

/** @param {Message} message @param {How} how */
function meta(message, { mine, readers, waits }) {
  if (message.state === "failed") return h("span.meta");
  if (message.state === "sending")
    return h("span.meta", {}, waits ? t("waiting") : t("sending"), h("span.tick.clock", { "aria-hidden": "true" }));
  const at = dateOf(message.at);
  const time = h(
    "time",
    { dateTime: at.toISOString(), title: at.toLocaleString(document.documentElement.lang) },
    clock(message.at),
  );
  if (!mine) return h("span.meta", {}, time);
  const state = readers > 1 ? t("readBy", { n: readers }) : readers ? t("read") : t("sent");
  const tick = h("span.tick", { title: state }, h("span.sr", {}, state));
  tick.classList.toggle("read", readers > 0);
  return h("span.meta", {}, time, tick);
}

/** @param {Written} message @param {Look} look */
function failure(message, look) {
  const again = h("button.plain.again", { type: "button" }, t("again"));
  const remove = h("button.plain", { type: "button" }, t("remove"));
  again.addEventListener("click", () => look.again(message));
  remove.addEventListener("click", () => look.remove(message));
  return h("p.failure", {}, t("notSent", { why: message.why }), " ", again, remove);
}

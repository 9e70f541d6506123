// Find and make elements. Text is inserted as text, never as markup.

import { t } from "./i18n.js";

/** @import { Word } from "./i18n.js" */

/**
 * The elements of chat.html that have an id, by that id.
 * @typedef {Record<Plain, HTMLElement> & Record<Button, HTMLButtonElement> & Record<Select, HTMLSelectElement>
 *   & Record<Form, HTMLFormElement> & Record<Dialog, HTMLDialogElement> & Record<Input, HTMLInputElement>
 *   & Record<Image, HTMLImageElement> & { text: HTMLTextAreaElement, "large-link": HTMLAnchorElement }} Elements
 */
/**
 * @typedef {"banner" | "banner-text" | "bell-count" | "chat" | "choose" | "groups" | "image-error" | "left" | "live"
 *   | "login" | "login-error" | "me" | "me-name" | "menu" | "messages" | "newest-text" | "no-groups"
 *   | "no-notifications" | "notice" | "notifications" | "only-live" | "room" | "room-avatar" | "room-name"
 *   | "room-presence" | "scroller" | "state" | "tray" | "trouble" | "trouble-text" | "typing" | "typing-text"} Plain
 */
/**
 * @typedef {"back" | "bell" | "connect" | "image" | "image-cancel" | "large-close" | "logout" | "newest" | "read-all"
 *   | "send" | "trouble-again"} Button
 */
/** @typedef {"language" | "theme"} Select */
/** @typedef {"image-form" | "login-form" | "write"} Form */
/** @typedef {"image-dialog" | "large"} Dialog */
/** @typedef {"image-url" | "images"} Input */
/** @typedef {"image-preview" | "large-image"} Image */

/**
 * @template {string} Name
 * @typedef {Name extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[Name] : HTMLElement} Named
 */
/**
 * The element that `h` makes from "tag" or "tag.class".
 * @template {string} Tag
 * @typedef {Tag extends `${infer Name}.${string}` ? Named<Name> : Named<Tag>} Made
 */

/**
 * Return the element of chat.html with this id.
 * @template {keyof Elements} Id
 * @param {Id} id
 */
export const $ = (id) => /** @type {Elements[Id]} */ (document.getElementById(id));

/**
 * Make an element. Props are set as properties, or as attributes if their name contains a dash.
 * @template {string} Tag
 * @param {Tag} tag with its classes: "li.message.mine"
 * @param {Partial<Made<Tag>> & Record<`${string}-${string}`, string>} [props]
 * @param {(Node | string | null | undefined)[]} children
 */
export function h(tag, props, ...children) {
  const [name = "", ...classes] = tag.split(".");
  const made = document.createElement(name);
  made.classList.add(...classes);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (key.includes("-")) made.setAttribute(key, String(value));
    else Object.assign(made, { [key]: value });
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return /** @type {Made<Tag>} */ (made);
}

/**
 * Return the button with this `data-id`.
 * @param {HTMLElement} list @param {string} id
 */
export function buttonOf(list, id) {
  return /** @type {HTMLButtonElement | null} */ (list.querySelector(`button[data-id="${CSS.escape(id)}"]`));
}

/**
 * Write the page's own words in the user's language: the text of elements with `data-t`, the name of those with
 * `data-t-label`, and the placeholder of those with `data-t-placeholder`.
 */
export function translate() {
  /** @param {string} selector */
  const all = (selector) => /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(selector));
  /** @param {string | undefined} key */
  const word = (key) => t(/** @type {Word} */ (key));
  for (const element of all("[data-t]")) element.textContent = word(element.dataset.t);
  for (const element of all("[data-t-label]")) {
    const label = word(element.dataset.tLabel);
    element.setAttribute("aria-label", label);
    if (element.tagName === "BUTTON") element.title = label;
  }
  for (const element of all("[data-t-placeholder]")) {
    element.setAttribute("placeholder", word(element.dataset.tPlaceholder));
  }
}

const HUES = 8;

/**
 * Make a round picture, or the first letters of the name on a colour that depends on `id`.
 * @param {string} id @param {string} [name] @param {string} [picture] its URL
 */
export function avatar(id, name = "", picture = "") {
  const letters = [...(name || "?")].slice(0, /^\p{ASCII}/u.test(name) ? 2 : 1).join("");
  const hue = [...String(id)].reduce((sum, letter) => (sum * 31 + (letter.codePointAt(0) ?? 0)) % 997, 7) % HUES;
  const made = h(`span.avatar.hue-${hue}`, { "aria-hidden": "true" }, letters);
  if (/^https?:/.test(picture)) {
    const image = h("img", { src: picture, alt: "", referrerPolicy: "no-referrer", loading: "lazy" });
    image.addEventListener("error", () => image.remove());
    made.append(image);
  }
  return made;
}

const LINK = /\bhttps?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}，。；：！？）】]/g;

/**
 * Return the pieces of a text, with its web addresses as links.
 * @param {string} text
 */
export function linked(text) {
  const parts = [];
  let end = 0;
  for (const { 0: address, index } of text.matchAll(LINK)) {
    if (!URL.canParse(address)) continue;
    parts.push(
      text.slice(end, index),
      h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, address),
    );
    end = index + address.length;
  }
  return [...parts, text.slice(end)];
}

/**
 * Let a screen reader read a text aloud.
 * @param {string} text
 */
export function announce(text) {
  $("live").textContent = "";
  requestAnimationFrame(() => {
    $("live").textContent = text;
  });
}

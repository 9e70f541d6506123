// Making elements. Text goes in as text, never as markup.

import { t } from "./i18n.js";

export const $ = (id) => document.getElementById(id);

/** An element; props are set as properties, or as attributes where the name holds a dash. */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  made.classList.add(...classes);
  for (const [key, value] of Object.entries(props)) {
    if (key.includes("-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Put the page's own words in the user's language: `data-t` text, `data-t-label` name, `data-t-placeholder`. */
export function translate(root = document) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
    if (element.tagName === "BUTTON") element.title = t(element.dataset.tLabel);
  }
  for (const element of root.querySelectorAll("[data-t-placeholder]"))
    element.placeholder = t(element.dataset.tPlaceholder);
}

const HUES = 8;

/** A round picture, or the first letters of a name on a colour that belongs to `id`. */
export function avatar(id, name, picture) {
  const letters = [...(name || "?")].slice(0, /^\p{ASCII}/u.test(name) ? 2 : 1).join("");
  const hue = [...String(id)].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 997, 7) % HUES;
  const made = h(`span.avatar.hue-${hue}`, { "aria-hidden": "true" }, letters);
  if (/^https?:/.test(picture)) {
    const image = h("img", { src: picture, alt: "", referrerPolicy: "no-referrer", loading: "lazy" });
    image.addEventListener("error", () => image.remove());
    made.append(image);
  }
  return made;
}

const LINK = /\bhttps?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}，。；：！？）】]/g;

/** Text with its web addresses as links. */
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

/** Say something to a screen reader. */
export function announce(text) {
  $("live").textContent = "";
  requestAnimationFrame(() => ($("live").textContent = text));
}

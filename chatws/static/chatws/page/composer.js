// The form to write a message: a text box that grows, and a dialog for the address of an image. Reports typing.

import { $ } from "./dom.js";
import { t } from "./i18n.js";

/** @import { Content } from "./outbox.js" */

const MAX_CHARACTERS = 5_000;
const MAX_URL_CHARACTERS = 2_048;
const WARN_CHARACTERS = 500; // with fewer left, their number is shown
const MAX_HEIGHT_PIXELS = 180;
const TYPING_MS = 3_000;
const PREVIEW_MS = 400;
const INPUT_METHOD_KEY = 229; // WebKit's code of the key that ended a composition

export class Composer {
  #typingAt = 0;
  #stops = 0; // timers
  #previews = 0;

  /** @param {{ onSend: (content: Content) => void, onTyping: (typing: boolean) => void }} callbacks */
  constructor({ onSend, onTyping }) {
    this.onSend = onSend;
    this.onTyping = onTyping;
    $("write").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    $("text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === INPUT_METHOD_KEY) return;
      event.preventDefault();
      this.#send();
    });
    $("text").addEventListener("input", () => {
      this.#fit();
      this.#type($("text").value.trim() !== "");
    });
    $("image").addEventListener("click", () => this.#openImage());
    $("image-url").addEventListener("input", () => {
      clearTimeout(this.#previews);
      this.#previews = setTimeout(() => this.#preview(), PREVIEW_MS);
    });
    $("image-dialog").addEventListener("close", () => clearTimeout(this.#previews));
    $("image-cancel").addEventListener("click", () => $("image-dialog").close());
    $("image-form").addEventListener("submit", (event) => this.#sendImage(event));
  }

  get text() {
    return $("text").value;
  }

  set text(text) {
    $("text").value = text;
    this.#typingAt = 0;
    this.#fit();
  }

  focus() {
    if (matchMedia("(pointer: fine)").matches) $("text").focus();
  }

  #send() {
    const text = $("text").value;
    if (!text.trim() || [...text.trim()].length > MAX_CHARACTERS) return;
    this.#type(false);
    this.text = "";
    this.onSend(text);
    $("text").focus();
  }

  /** @param {boolean} typing */
  #type(typing) {
    clearTimeout(this.#stops);
    if (typing) this.#stops = setTimeout(() => this.#type(false), 2 * TYPING_MS);
    if (typing ? Date.now() - this.#typingAt < TYPING_MS : this.#typingAt === 0) return;
    this.#typingAt = typing ? Date.now() : 0;
    this.onTyping(typing);
  }

  #fit() {
    const box = $("text");
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight + 2, MAX_HEIGHT_PIXELS)}px`;
    const left = MAX_CHARACTERS - [...box.value.trim()].length;
    $("left").hidden = left > WARN_CHARACTERS;
    $("left").textContent = t("charactersLeft", { n: left });
    $("left").classList.toggle("bad", left < 0);
    $("send").disabled = left < 0;
  }

  #openImage() {
    $("image-form").reset();
    this.#preview();
    $("image-dialog").showModal();
  }

  /** Return the address of the image, or null if it isn't one on the web. */
  #address() {
    const url = $("image-url").value.trim();
    if (!URL.canParse(url) || url.length > MAX_URL_CHARACTERS || /\s/.test(url)) return null;
    return /^https?:$/.test(new URL(url).protocol) ? url : null;
  }

  #preview() {
    const url = this.#address();
    const image = $("image-preview");
    const bad = $("image-url").value !== "" && !url;
    $("image-error").textContent = bad ? t("imageBad") : "";
    image.hidden = true;
    if (!url) return image.removeAttribute("src");
    image.onload = () => {
      image.hidden = false;
    };
    image.onerror = () => {
      $("image-error").textContent = t("imageNone");
    };
    image.src = url;
  }

  /** @param {Event} event */
  #sendImage(event) {
    event.preventDefault();
    const url = this.#address();
    if (!url) {
      $("image-error").textContent = t("imageBad");
      $("image-url").focus();
      return;
    }
    $("image-dialog").close();
    this.onSend({ image_url: url });
  }
}

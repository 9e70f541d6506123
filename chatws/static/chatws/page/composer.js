// Where one writes: text that grows, an image by its address, and word to the others that somebody types.

import { $ } from "./dom.js";
import { t } from "./i18n.js";

const MOST_CHARACTERS = 5_000;
const TYPING_MS = 3_000;
const PREVIEW_MS = 400;
const IN_INPUT_METHOD = 229; // WebKit's key that ends a composition, which is over by then

export class Composer {
  #typingAt = 0;
  #stops = 0;
  #previews = 0;

  /** `onSend`: a text, or {image_url}; `onTyping`: whether somebody types. */
  constructor({ onSend, onTyping }) {
    Object.assign(this, { onSend, onTyping });
    $("write").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    $("text").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === IN_INPUT_METHOD) return;
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
    if (!text.trim() || [...text.trim()].length > MOST_CHARACTERS) return;
    this.#type(false);
    this.text = "";
    this.onSend(text);
    $("text").focus();
  }

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
    box.style.height = `${Math.min(box.scrollHeight + 2, 180)}px`;
    const left = MOST_CHARACTERS - [...box.value.trim()].length;
    $("left").hidden = left > 500;
    $("left").textContent = t("charactersLeft", { n: left });
    $("left").classList.toggle("bad", left < 0);
    $("send").disabled = left < 0;
  }

  #openImage() {
    $("image-form").reset();
    this.#preview();
    $("image-dialog").showModal();
  }

  #address() {
    const url = $("image-url").value.trim();
    return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol) && !/\s/.test(url) && url.length <= 2_048
      ? url
      : null;
  }

  #preview() {
    const url = this.#address();
    const image = $("image-preview");
    const bad = $("image-url").value !== "" && !url;
    $("image-error").textContent = bad ? t("imageBad") : "";
    image.hidden = true;
    if (!url) return image.removeAttribute("src");
    image.onload = () => (image.hidden = false);
    image.onerror = () => ($("image-error").textContent = t("imageNone"));
    image.src = url;
  }

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

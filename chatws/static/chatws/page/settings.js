// The settings of this device: language, light or dark, whether images are shown without asking.

import { $, translate } from "./dom.js";
import { chooseLanguage, LANGUAGES } from "./i18n.js";
import { device } from "./storage.js";

/** @typedef {{ language?: string, theme?: string, images?: boolean }} Chosen */

const STORE = "chatws:settings";

export class Settings {
  /** @type {Chosen} */
  #chosen = { ...device.get(STORE) };

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    const options = Object.entries(LANGUAGES).map(([code, name]) => new Option(name, code));
    for (const option of options) option.lang = option.value;
    $("language").append(...options);
    $("language").addEventListener("change", () => this.#choose({ language: $("language").value }));
    $("theme").addEventListener("change", () => this.#choose({ theme: $("theme").value }));
    $("images").addEventListener("change", () => this.#choose({ images: $("images").checked }));
    this.#apply();
  }

  get alwaysImages() {
    return Boolean(this.#chosen.images);
  }

  /** @param {Chosen} change */
  #choose(change) {
    Object.assign(this.#chosen, change);
    device.set(STORE, this.#chosen);
    this.#apply();
    this.onChange();
  }

  #apply() {
    $("language").value = chooseLanguage(this.#chosen.language);
    $("theme").value = this.#chosen.theme ?? "auto";
    $("images").checked = this.alwaysImages;
    document.documentElement.dataset.theme = $("theme").value;
    translate();
  }
}

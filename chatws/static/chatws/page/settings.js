// What a person chooses for this device: language, light or dark, whether images are shown without asking.

import { $, translate } from "./dom.js";
import { chooseLanguage, LANGUAGES } from "./i18n.js";

const STORE = "chatws:settings";

export class Settings {
  #chosen = JSON.parse(localStorage.getItem(STORE) ?? "{}"); // {language, theme, images}

  constructor(onChange) {
    this.onChange = onChange;
    const options = Object.entries(LANGUAGES).map(([code, name]) => new Option(name, code));
    for (const option of options) option.lang = option.value;
    $("language").append(...options);
    for (const [id, key] of [
      ["language", "language"],
      ["theme", "theme"],
    ]) {
      $(id).addEventListener("change", ({ target }) => this.#choose(key, target.value));
    }
    $("images").addEventListener("change", ({ target }) => this.#choose("images", target.checked));
    this.#apply();
  }

  get alwaysImages() {
    return Boolean(this.#chosen.images);
  }

  #choose(key, value) {
    this.#chosen[key] = value;
    localStorage.setItem(STORE, JSON.stringify(this.#chosen));
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

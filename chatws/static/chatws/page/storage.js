// What the page keeps on this device or in this tab. If the browser refuses (private mode, a policy, a full disk), it is
// kept in memory: the page works, and forgets it with the tab. Content that can't be read counts as none.

export class Shelf {
  /** @type {Map<string, unknown>} */
  #memory = new Map();
  #browsers;

  /** @param {() => Storage | null} browsers returns the browser's storage; may throw */
  constructor(browsers) {
    this.#browsers = browsers;
  }

  /**
   * Return what is kept, parsed but unchecked; null if there is nothing.
   * @param {string} key
   * @returns {any}
   */
  get(key) {
    if (this.#memory.has(key)) return this.#memory.get(key);
    try {
      return JSON.parse(this.#browsers()?.getItem(key) ?? "null");
    } catch {
      return null;
    }
  }

  /** @param {string} key @param {unknown} value */
  set(key, value) {
    try {
      const storage = this.#browsers();
      if (!storage) throw new Error("no storage");
      storage.setItem(key, JSON.stringify(value));
      this.#memory.delete(key);
    } catch {
      this.remove(key); // what is there is outdated
      this.#memory.set(key, value);
    }
  }

  /** @param {string} key */
  remove(key) {
    this.#memory.delete(key);
    try {
      this.#browsers()?.removeItem(key);
    } catch {
      // nothing could be kept there
    }
  }
}

/** For all tabs of this browser. */
export const device = new Shelf(() => globalThis.localStorage);
/** For this tab. */
export const tab = new Shelf(() => globalThis.sessionStorage);

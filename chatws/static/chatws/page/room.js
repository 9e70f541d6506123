// One chat group as this window knows it: its messages in the server's order, and what was written here and waits.
// A message: {key, id, sender, name, avatar, type, text, image, at, state, why, recalled, frame, n}.

const KEPT_PENDING = /^(sending|failed)$/;

/** A message as the server tells it, live or from the history. */
export function received(data) {
  return {
    key: data.message_id,
    id: data.message_id,
    sender: data.sender ?? String(data.sender_id),
    name: data.sender_name,
    avatar: data.sender_avatar,
    type: data.msg_type,
    text: data.content,
    image: data.image_url,
    at: Number(data.created_at),
    recalled: data.status === 2,
    state: "sent",
  };
}

/** A message that was written here. */
export function written(frame, sender) {
  const { msg_type: type, content: text, image_url: image } = frame.data;
  return { key: frame.message_id, id: null, sender, type, text, image, at: frame.timestamp, state: "sending", frame };
}

export class Room {
  messages = []; // oldest first; `n` rises by one
  pending = []; // written here, not yet seen in the group's feed
  loaded = false; // the newest page is there
  hasMore = true; // there may be older ones than the first
  newFrom = null; // the first message that was unread when the group was opened
  readBy = new Map(); // user → id of the last message read
  draft = "";
  #byId = new Map();

  constructor(id) {
    this.id = id;
  }

  get all() {
    return [...this.messages, ...this.pending];
  }

  get ids() {
    return new Set(this.#byId.keys());
  }

  get(id) {
    return this.#byId.get(id);
  }

  /** A message of the live feed. Whether it is new here. */
  append(message) {
    if (this.#byId.has(message.id)) return false;
    const [first] = this.pending;
    const same = (mine) => mine.id === message.id || (mine === first && !mine.id && isTwin(mine, message));
    const mine = this.pending.find(same);
    if (mine) {
      this.pending = this.pending.filter((other) => other !== mine);
      message.key = mine.key;
    }
    this.#add(message);
    return true;
  }

  /** The chat service has stored what was written here; its place comes with the feed, or with the history. */
  acknowledge(key, id) {
    const mine = this.pending.find((message) => message.key === key);
    if (!mine) return;
    if (!this.loaded || this.#byId.has(id)) this.remove(key);
    else Object.assign(mine, { id, state: "sent" });
  }

  remove(key) {
    this.pending = this.pending.filter((message) => message.key !== key);
  }

  /** The newest message of somebody else. */
  newestOfOthers(self) {
    return this.messages.findLast(({ sender }) => sender !== self);
  }

  /** Older messages, newest first. How many were new. */
  prepend(page, hasMore) {
    const older = page.filter(({ id }) => !this.#byId.has(id)).reverse();
    this.hasMore = hasMore && older.length > 0;
    this.#replace([...older, ...this.messages]);
    return older.length;
  }

  /**
   * The newest messages, newest first. What came live since they were asked for (`known`: the ids there were then)
   * stays behind them. What lies before them stays if they meet it; else there is a gap, and it is forgotten.
   */
  renew(page, hasMore, known) {
    const ids = new Set(page.map(({ id }) => id));
    const meets = this.messages.findIndex(({ id }) => ids.has(id));
    const before = meets >= 0 ? this.messages.slice(0, meets) : [];
    const after = this.messages.filter(({ id }) => !known.has(id) && !ids.has(id));
    if (meets < 0) this.hasMore = hasMore;
    for (const message of page) message.key = this.#byId.get(message.id)?.key ?? message.key;
    this.pending = this.pending.filter(({ id }) => id === null || (this.loaded && !ids.has(id)));
    this.#replace([...before, ...page.toReversed(), ...after]);
    this.loaded = true;
  }

  /** How far somebody had read when the service was asked; what came live since may go further. */
  hadRead(user, id) {
    if (this.#place(id) >= this.#place(this.readBy.get(user))) this.readBy.set(user, id);
  }

  /** How many others have read this message. */
  readers(message, self) {
    let count = 0;
    for (const [user, id] of this.readBy) if (user !== self && this.#place(id) >= message.n) count += 1;
    return count;
  }

  get unsent() {
    return this.pending.filter(({ state }) => KEPT_PENDING.test(state));
  }

  /** 0 for a message that isn't here: older, as a rule. */
  #place(id) {
    return this.#byId.get(id)?.n ?? 0;
  }

  #add(message) {
    message.n = (this.messages.at(-1)?.n ?? 0) + 1;
    this.messages.push(message);
    this.#byId.set(message.id, message);
  }

  #replace(messages) {
    this.messages = [];
    this.#byId.clear();
    for (const message of messages) this.#add(message);
  }
}

function isTwin(mine, message) {
  return mine.sender === message.sender && mine.text === message.text && mine.image === message.image;
}

// history.js: pages of older messages, without gaps. Used beside chatws.js; types: history.d.ts.

/**
 * Ask for the messages before the oldest of `known`, newest first. A chat service may answer by whole seconds and leave
 * out other messages of the oldest one's second, so this asks from a later second on, and drops what is known.
 * @type {typeof import("./history.js").messagesBefore}
 */
export async function messagesBefore(client, groupId, known, { limit = 50, ...options } = {}) {
  /** @param {string} before @param {number} most */
  const ask = (before, most) => client.history(groupId, { before, limit: most, ...options });
  const last = known.at(-1);
  if (!last) return ask("", limit);
  const later = known.findLastIndex((message) => message.created_at - last.created_at > 0);
  const page = await ask(known[later]?.message_id ?? "", Math.min(limit + known.length - 1 - later, 100));
  const ids = new Set(known.map((message) => message.message_id));
  const behind = page.messages.findLastIndex((message) => ids.has(message?.message_id));
  const messages = page.messages.filter((message, position) => {
    const isOlder = position > behind || Number(message?.created_at) === Number(last.created_at);
    return behind >= 0 && isOlder && !ids.has(message?.message_id);
  });
  return messages.length || (behind >= 0 && !page.has_more) ? { ...page, messages } : ask(last.message_id, limit);
}

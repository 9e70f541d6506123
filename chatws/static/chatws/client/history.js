// history.js: older messages than those a page has. A chat service may take an id for the whole second of that message:
// asked from a later second on, it leaves out none of the oldest's. Beside chatws.js; types: history.d.ts.

/** Messages before the oldest of `known` (newest first), which may be empty: `{ messages, has_more }`, newest first. */
export async function messagesBefore(client, groupId, known, { limit = 50, ...options } = {}) {
  const ask = (before, most) => client.history(groupId, { before, limit: most, ...options });
  const last = known.at(-1);
  if (!last) return ask("", limit);
  const later = known.findLastIndex((message) => message.created_at - last.created_at > 0);
  const page = await ask(known[later]?.message_id ?? "", Math.min(limit + known.length - 1 - later, 100));
  const ids = new Set(known.map((message) => message.message_id));
  const behind = page.messages.findLastIndex((message) => ids.has(message.message_id));
  const isOlder = (message, place) => place > behind || Number(message.created_at) === Number(last.created_at);
  const messages =
    behind < 0 ? [] : page.messages.filter((message, n) => isOlder(message, n) && !ids.has(message.message_id));
  return messages.length || (behind >= 0 && !page.has_more) ? { ...page, messages } : ask(last.message_id, limit);
}

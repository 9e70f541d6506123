// history.js: older messages than those a page has. A chat service may take an id for the whole second of that message:
// asked from a later second on, it leaves out none of the oldest's. Beside chatws.js; types: history.d.ts.

/** Messages before the oldest of `known` (newest first), which may be empty: `{ messages, has_more }`, newest first. */
export async function messagesBefore(client, groupId, known, { limit = 50, ...options } = {}) {
  const ask = (before, most) => client.history(groupId, { before, limit: most, ...options });
  const last = known.at(-1);
  if (!last) return ask("", limit);
  const since = (message) => message.created_at - last.created_at;
  const later = known.findLast((message) => since(message) > 0)?.message_id ?? "";
  const again = known.filter((message) => since(message) === 0).length;
  const page = await ask(later, Math.min(limit + again, 100));
  const ids = new Set(known.map((message) => message.message_id));
  const messages = page.messages.filter((message) => since(message) <= 0 && !ids.has(message.message_id));
  return messages.length || !page.has_more ? { ...page, messages } : ask(last.message_id, limit);
}

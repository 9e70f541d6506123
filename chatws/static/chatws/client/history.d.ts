import type { ChatClient, HistoryPage, Message, SendOptions } from "./chatws.js";

/**
 * Ask for the messages before the oldest of `known`, without a gap. Both are newest first; `known` may be empty.
 * `limit`: 1 to 100, default 50.
 */
export function messagesBefore(
  client: Pick<ChatClient, "history">,
  groupId: string,
  known: readonly Pick<Message, "message_id" | "created_at">[],
  options?: SendOptions & { limit?: number },
): Promise<HistoryPage>;

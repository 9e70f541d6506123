import type { ChatClient, HistoryPage, Message, SendOptions } from "./chatws.js";

/** Messages before the oldest of `known` (newest first), which may be empty; newest first, none left out. */
export function messagesBefore(
  client: Pick<ChatClient, "history">,
  groupId: string,
  known: readonly Pick<Message, "message_id" | "created_at">[],
  options?: SendOptions & { limit?: number },
): Promise<HistoryPage>;

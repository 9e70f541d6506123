import { ChatClient, type ChatEvents, ClosedError, type Message, newId, parseJson, RefusedError } from "chatws";
import { messagesBefore } from "chatws/history";

const chat = new ChatClient("/ws", {
  token: async ({ fresh }) => (fresh ? null : "t"),
  positions: {},
  longestWait: 10,
  tokenTimeout: 5,
});
const stop: () => void = chat.listen("new_message", (message, event) => {
  const text: string = message.content;
  const offset: number | undefined = event.frame?.offset;
  void text;
  void offset;
});
chat.addEventListener("state", (event) => {
  const s: "stopped" | "connecting" | "online" | "waiting" = event.detail.state;
  void s;
});
chat.addEventListener("lost", ({ detail }) => detail.feed.toUpperCase());
// @ts-expect-error no such event
chat.listen("nothing", () => {});
// @ts-expect-error a token is needed
new ChatClient("/ws", {});
async function main(): Promise<void> {
  try {
    const { message_id } = await chat.send("g", "hi", { id: newId(), signal: AbortSignal.timeout(1000) });
    const page = await chat.history("g", { before: message_id, limit: 10 });
    const older: Message[] = (await messagesBefore(chat, "g", page.messages, { limit: 50 })).messages;
    void older;
    const first: Message | undefined = page.messages[0];
    void first;
    await chat.send("g", { image_url: "https://x/y.png" });
    chat.typing("g");
  } catch (error) {
    if (error instanceof RefusedError) await chat.resend(error.frame);
    else if (error instanceof ClosedError) console.log(error.code);
  }
  stop();
}
const names: keyof ChatEvents = "typing";
void names;
const parsed: unknown = parseJson("{}");
void parsed;
void main;

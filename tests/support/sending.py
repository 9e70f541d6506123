"""A chat service in this process that counts its calls and can fail, and what Redis holds after a message."""

import asyncio
import json
import math
from typing import Any

from chatws.chat_service.port import History, Message, error_of
from chatws.chat_service.users import Names
from chatws.events.routes import MESSAGE_NEW
from chatws.messaging.message_publisher import MessagePublisher
from chatws.messaging.sending import Sender
from chatws.protocol.frames import SendMessage, SendMessageData
from realtime.auth.principal import Principal
from realtime.publishing.intents import Intents

NO_REDIS: Any = None
"""No Redis is needed: without a user service no name is looked up."""
USER = Principal(user_id=42, expires_at=0, name="Zoë", avatar="https://x.example/z.png")


class ChatService:
    """A counting chat service that answers when allowed. With ``commits`` it stores a message before it fails."""

    def __init__(self) -> None:
        self.saved: list[dict[str, Any]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.failure: Exception | None = None
        self.commits = False
        self.stored: list[str] = []
        self.history_failure: Exception | None = None
        self.history_fails = math.inf
        """The number of calls that fail from now on."""
        self.answers_with = ""

    async def save_message(self, **message: Any) -> str:
        self.saved.append(message)
        if self.failure is None or self.commits:
            self.stored.append(message["message_id"])
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return self.answers_with or str(message["message_id"])

    async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
        if self.history_failure is not None and self.history_fails:
            self.history_fails -= 1
            raise self.history_failure
        if before_id:
            raise error_of(404, "no such message")
        return History([Message(stored, "g1", 42, "", 1, "", "", 1, 1) for stored in self.stored[::-1]], False)


def frame(text: str = "hello", message_id: str = "c-1") -> SendMessage:
    return SendMessage(message_id=message_id, timestamp=1_700_000_000, data=SendMessageData("g1", 1, text))


def publishing(chat: ChatService, intents: Intents) -> Sender:
    return Sender(chat, MessagePublisher(chat, Names(NO_REDIS), intents))  # type: ignore[arg-type]  # all that is asked of it


async def published(redis: Any) -> list[str]:
    return [json.loads(fields[b"payload"])["message_id"] for _, fields in await redis.xrange(MESSAGE_NEW)]


async def noted(redis: Any) -> int:
    async with redis.pipeline(transaction=True) as both:  # others may be working on it
        both.hlen("chatws:{chat.message.new}:intents")
        both.zcard("chatws:{chat.message.new}:intents:due")
        count, due = await both.execute()
    assert count == due
    return int(count)

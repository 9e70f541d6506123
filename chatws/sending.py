"""A message on its way in: named by what it says, stored once, and published where the chat service doesn't.

One a process. A frame that is sent again while its first attempt is under way waits for that one.
"""

import asyncio
import json
import math
import time
import uuid
from typing import Any

import msgspec

from chatws.exceptions import FrameError
from chatws.frames import SendMessage
from chatws.routes import MESSAGE_NEW, MessageEvent
from chatws.rpc.gateway import ChatGateway
from realtime import metrics, tracing
from realtime.auth import Principal
from realtime.limits import UserLimit
from realtime.redis import Redis, is_transient
from realtime.relay.entry import encode

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:chatws:message")
RETRY_AFTER_SECONDS = 2


class Sender:
    """Stores messages. With ``stream`` it publishes them too (`CHATWS_MESSAGE_PUBLISHER=gateway`)."""

    def __init__(self, chat: ChatGateway, stream: Redis | None = None, limit: UserLimit | None = None) -> None:
        self._chat = chat
        self._stream = stream
        self._limit = limit
        self._under_way: dict[str, asyncio.Task[str]] = {}

    async def send(self, principal: Principal, frame: SendMessage) -> str:
        """The id under which the message is stored, and published where that is ours to do.

        Raises:
            ChatServiceError: the chat service refused it or can't be reached.
            FrameError: 429, the user sends too fast; 503, Redis is away, or the message is stored and can't be
                published now: the frame has to be sent again.
        """
        if self._limit is not None:
            await self._wait_less(self._limit, principal.user_id)
        message_id = stored_id(principal.user_id, frame)
        attempt = self._under_way.get(message_id)
        if attempt is None:
            attempt = asyncio.get_running_loop().create_task(self._attempt(message_id, principal, frame))
            self._under_way[message_id] = attempt
            attempt.add_done_callback(lambda task: self._ended(message_id, task))
        return await asyncio.shield(attempt)

    async def _wait_less(self, limit: UserLimit, user_id: int) -> None:
        try:
            wait = await limit.take(user_id)
        except Exception as error:
            if not is_transient(error):
                raise
            problem = f"Redis can't be reached, nothing is stored: {error}"
            raise FrameError(503, problem, retry_after=RETRY_AFTER_SECONDS) from error
        if wait:
            metrics.refusals.labels("sends").inc()
            raise FrameError(429, "too many messages: not stored", retry_after=math.ceil(wait))

    async def _attempt(self, message_id: str, principal: Principal, frame: SendMessage) -> str:
        data = frame.data
        stored = await self._chat.save_message(
            message_id=message_id, group_id=data.group_id, sender_id=principal.user_id, msg_type=data.msg_type,
            content=data.content, image_url=data.image_url,
        )  # fmt: skip
        if self._stream is not None:
            event = MessageEvent(
                message_id=stored, group_id=data.group_id, sender_id=principal.user_id, msg_type=data.msg_type,
                created_at=int(time.time()), sender_name=principal.name, sender_avatar=principal.avatar,
                content=data.content, image_url=data.image_url,
            )  # fmt: skip
            try:
                entry: Any = encode(msgspec.json.encode(event), tracing.current.entry_metadata())
                await self._stream.xadd(MESSAGE_NEW, entry)
            except Exception as error:
                if not is_transient(error):
                    raise
                problem = f"the message is stored but can't be published now, send it again: {error}"
                raise FrameError(503, problem, retry_after=RETRY_AFTER_SECONDS) from error
        return stored

    def _ended(self, message_id: str, task: asyncio.Task[str]) -> None:
        del self._under_way[message_id]
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may be waiting any more


def stored_id(user_id: int, frame: SendMessage) -> str:
    """The server's id of a message: the same for a frame sent again unchanged (docs/protocol.md, "Sending once")."""
    if not frame.message_id or not frame.timestamp:
        return str(uuid.uuid4())
    data = frame.data
    name = [str(user_id), frame.message_id, frame.timestamp, data.group_id, data.msg_type, data.content, data.image_url]
    return str(uuid.uuid5(NAMESPACE, json.dumps(name, ensure_ascii=False, separators=(",", ":"))))

"""Store messages, each once: its id is computed from the frame, so a frame sent again has the same id.

After an error of the chat service, the history tells whether the message is stored. A frame that is sent again during
its first attempt waits for that attempt.
"""

import asyncio
import json
import math
import time
import uuid
from contextlib import nullcontext, suppress

from chatws.chat_service.port import RETRY_AFTER_SECONDS, UNAVAILABLE, ChatGateway, ChatServiceError
from chatws.events.payloads import MessageEvent
from chatws.exceptions import FrameError
from chatws.messaging.message_publisher import MessagePublisher
from chatws.messaging.stored import is_stored
from chatws.protocol.frames import SendMessage
from realtime.aio import tasks
from realtime.auth.principal import Principal
from realtime.exceptions import RedisUnavailable
from realtime.observability import metrics
from realtime.publishing.intents import Noted
from realtime.redis.token_bucket import UserLimit

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:chatws:message")
FIND_OUT_SECONDS, ASK_SECONDS, PAUSE_SECONDS = 3.0, 1.0, 0.2
"""After an error: how long the history is searched in all, the deadline of one search, and the pause between two.

Together with the deadline of the store call this is shorter than clients wait for an answer.
"""


class Sender:
    """Stores messages, and publishes them with ``publisher`` if the chat service doesn't; each process has one."""

    def __init__(
        self, chat: ChatGateway, publisher: MessagePublisher | None = None, limit: UserLimit | None = None
    ) -> None:
        self._chat = chat
        self._publisher = publisher
        self._limit = limit
        self._under_way: dict[str, asyncio.Task[str]] = {}

    async def send(self, principal: Principal, frame: SendMessage) -> str:
        """Store and, with a publisher, publish a message; return its id.

        Raises:
            ChatServiceError: the chat service refused the message or is unavailable.
            FrameError: 429, the user sends too fast; 503, Redis is unavailable.
        """
        message_id = stored_id(principal.user_id, frame)
        attempt = self._under_way.get(message_id)
        if attempt is None:
            data = frame.data
            event = MessageEvent(
                message_id=message_id, group_id=data.group_id, sender_id=principal.user_id, msg_type=data.msg_type,
                created_at=int(time.time()), sender_name=principal.name, sender_avatar=principal.avatar,
                content=data.content, image_url=data.image_url,
            )  # fmt: skip
            attempt = tasks.start(self._attempt(event), "sending a message")
            self._under_way[message_id] = attempt
            attempt.add_done_callback(lambda _: self._under_way.pop(message_id))
        return await asyncio.shield(attempt)

    async def _attempt(self, event: MessageEvent) -> str:
        publisher, message_id = self._publisher, event.message_id
        with publisher.working_on(message_id) if publisher else nullcontext():
            noted = await self._begin(event)
            if noted is Noted.ADDED:
                return message_id
            if noted is not None:
                try:
                    message_id = await self._store(event, noted)
                except ChatServiceError as error:
                    if publisher and noted is Noted.NEW and error.changed_nothing:
                        await publisher.withdraw(event.message_id)
                    raise
            if publisher:
                await publisher.publish(event)
        return message_id

    async def _begin(self, event: MessageEvent) -> Noted | None:
        """Note the intent; return None if Redis is unavailable and an earlier attempt has stored the message."""
        try:
            await self._check_rate(event.sender_id)
            return await self._publisher.note(event) if self._publisher else Noted.NEW
        except FrameError as error:
            if error.code == UNAVAILABLE and await self._is_stored(event):
                return None
            raise

    async def _check_rate(self, user_id: int) -> None:
        if self._limit is None:
            return
        try:
            wait = await self._limit.take(user_id)
        except RedisUnavailable as error:
            problem = f"Redis is unavailable, this try stored nothing: {error}"
            raise FrameError(UNAVAILABLE, problem, retry_after=RETRY_AFTER_SECONDS) from error
        if wait:
            metrics.refusals.labels("sends").inc()
            raise FrameError(429, "too many messages: not stored", retry_after=math.ceil(wait))

    async def _store(self, event: MessageEvent, noted: Noted) -> str:
        """Store a message and return its id; after an ambiguous error search the history for it."""
        try:
            return await self._chat.save_message(
                message_id=event.message_id, group_id=event.group_id, sender_id=event.sender_id,
                msg_type=event.msg_type, content=event.content, image_url=event.image_url,
            )  # fmt: skip
        except ChatServiceError as error:
            if (error.changed_nothing and noted is not Noted.BEFORE) or not await self._is_stored(event):
                raise
        return event.message_id

    async def _is_stored(self, event: MessageEvent) -> bool:
        """Return whether the history has the message; retry, because one instance of several may hang."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIND_OUT_SECONDS):
                while True:
                    with suppress(ChatServiceError, TimeoutError):
                        async with asyncio.timeout(ASK_SECONDS):
                            return await is_stored(self._chat, event.group_id, event.message_id, event.created_at)
                    await asyncio.sleep(PAUSE_SECONDS)
        return False  # unknown counts as not stored: the client may send the frame again without harm


def stored_id(user_id: int, frame: SendMessage) -> str:
    """Return the server's id of a message: the same for an unchanged frame (docs/protocol.md, "Sending once")."""
    if not frame.message_id or not frame.timestamp:
        return str(uuid.uuid4())
    data = frame.data
    name = [str(user_id), frame.message_id, frame.timestamp, data.group_id, data.msg_type, data.content, data.image_url]
    return str(uuid.uuid5(NAMESPACE, json.dumps(name, ensure_ascii=False, separators=(",", ":"))))

"""Publish `chat.message.new` for a chat service that doesn't (`CHATWS_MESSAGE_PUBLISHER=gateway`).

A stored message is published once, even if this process dies after storing it. Redis keeps an intent from before a
message is stored until it is published, and another gateway finishes intents that no process works on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import msgspec
from msgspec import structs

from chatws.chat_service.port import RETRY_AFTER_SECONDS, ChatGateway, ChatServiceError
from chatws.chat_service.users import Names
from chatws.events.payloads import MessageEvent
from chatws.exceptions import FrameError
from chatws.messaging.stored import is_stored
from realtime.aio.backoff import Backoff
from realtime.exceptions import RedisUnavailable, TransientError
from realtime.observability import metrics, tracing
from realtime.publishing.intents import Intent, Intents, Noted
from realtime.relay.watermill import encode

logger = logging.getLogger(__name__)

NOTE_SECONDS, PUBLISH_SECONDS = 2.0, 60.0
"""How long a sender waits for Redis before its message is stored, and after.

After, an error would wrongly suggest that the message is not stored, so the wait is longer.
"""
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
CLAIM_SECONDS = 1.0
"""The time between two searches for intents that no process works on."""
MAX_AT_ONCE = 20
"""How many intents are finished at once."""
FORGET_SECONDS = 60.0
"""The age at which the intent of an unstored message is deleted: no call that could store it runs any more."""
GIVE_UP_SECONDS = 86_400.0
"""The age at which an intent is deleted although the chat service never answered: its chat group may be deleted."""

_event = msgspec.json.Decoder(MessageEvent)
Answer = TypeVar("Answer")


class MessagePublisher:
    """Publishes messages after they are stored; each process has one."""

    def __init__(self, chat: ChatGateway, names: Names, intents: Intents) -> None:
        self._chat = chat
        self._names = names
        self._intents = intents
        self._working_on: dict[str, int] = {}

    @contextmanager
    def working_on(self, message_id: str) -> Iterator[None]:
        """Keep other gateways from finishing this message inside the block."""
        self._working_on[message_id] = self._working_on.get(message_id, 0) + 1
        try:
            yield
        finally:
            self._working_on[message_id] -= 1
            if not self._working_on[message_id]:
                del self._working_on[message_id]

    async def note(self, event: MessageEvent) -> Noted:
        """Note in Redis that a message is about to be stored.

        Raises:
            FrameError: 503, Redis is unavailable, or there are too many intents already.
        """
        content = msgspec.json.encode(event)
        try:
            noted = await _with_retries(lambda: self._intents.note(event.message_id, content), NOTE_SECONDS)
        except RedisUnavailable as error:
            raise _unavailable(error, "this try stored nothing") from error
        if noted is Noted.FULL:
            metrics.refusals.labels("intents").inc()
            problem = "too many messages have an unknown result: this try stored nothing"
            raise FrameError(503, problem, retry_after=RETRY_AFTER_SECONDS)
        return noted

    async def publish(self, event: MessageEvent) -> None:
        """Publish a stored message unless it was published before; wait for Redis up to `PUBLISH_SECONDS`.

        Raises:
            FrameError: 503, Redis is still unavailable. The message will be published later.
        """
        entry = encode(msgspec.json.encode(await self._named(event)), tracing.current.entry_metadata())
        try:
            await _with_retries(lambda: self._intents.fulfil(event.message_id, entry), PUBLISH_SECONDS)
        except RedisUnavailable as error:
            raise _unavailable(error, "the message is stored and will be published") from error

    async def withdraw(self, message_id: str) -> None:
        """Delete the intent of a refused message; if Redis is unavailable, the search for intents deletes it later."""
        with suppress(RedisUnavailable):
            await self._intents.withdraw(message_id)

    async def run(self) -> None:
        """Publish stored messages whose gateway died, or whose store call got no answer."""
        logged = ""
        while True:
            await asyncio.sleep(CLAIM_SECONDS)
            try:
                if self._working_on:
                    await self._intents.postpone(self._working_on)
                while claimed := await self._intents.claim(MAX_AT_ONCE):
                    await asyncio.gather(*(self._finish(intent) for intent in claimed))
                logged = ""
            except TransientError as error:
                if str(error) != logged:
                    logger.warning("the search for unpublished messages failed: %s", error)
                logged = str(error)

    async def _finish(self, intent: Intent) -> None:
        if intent.id in self._working_on:
            return
        try:
            event = _event.decode(intent.content)
            stored = await is_stored(self._chat, event.group_id, event.message_id, event.created_at)
        except (ChatServiceError, msgspec.DecodeError) as error:
            logger.info("the chat service did not say whether message %s is stored: %s", intent.id, error)
            if intent.age >= GIVE_UP_SECONDS:
                logger.error(
                    "message %s will not be published, the chat service never said whether it is stored: %s",
                    intent.id,
                    error,
                )
                await self._intents.withdraw(intent.id)
            return
        if stored:
            if await self._intents.fulfil(intent.id, encode(msgspec.json.encode(await self._named(event)))):
                metrics.messages_finished.inc()
                logger.warning("message %s was stored but not published; it is published now", event.message_id)
        elif intent.age >= FORGET_SECONDS:
            await self._intents.withdraw(intent.id)

    async def _named(self, event: MessageEvent) -> MessageEvent:
        """Return the message with its sender's name, looked up if the token had none."""
        if event.sender_name:
            return event
        found = await self._names.of([event.sender_id])
        if event.sender_id not in found:
            return event
        sender = found[event.sender_id]
        return structs.replace(event, sender_name=sender.name, sender_avatar=event.sender_avatar or sender.avatar)


async def _with_retries(call: Callable[[], Awaitable[Answer]], seconds: float) -> Answer:
    """Return the call's answer; retry for up to ``seconds`` while Redis is unavailable, then raise its error."""
    loop, backoff = asyncio.get_running_loop(), Backoff(FIRST_WAIT, LONGEST_WAIT)
    deadline = loop.time() + seconds
    while True:
        try:
            return await call()
        except RedisUnavailable:
            if loop.time() + backoff.wait > deadline:
                raise
        await backoff.sleep()


def _unavailable(error: RedisUnavailable, state: str) -> FrameError:
    return FrameError(503, f"Redis is unavailable, {state}: {error}", retry_after=RETRY_AFTER_SECONDS)

"""`chat.message.new` for a chat service that doesn't publish it (`CHATWS_MESSAGE_PUBLISHER=gateway`).

What the chat service has stored is published once, also where this process dies in between: an intent is noted in Redis
before a message is stored, and another gateway finishes those that nobody works on.
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
from realtime.exceptions import RedisUnavailable, TransientError
from realtime.observability import metrics, tracing
from realtime.publishing.intents import MAX_INTENTS, Intent, Intents, Noted
from realtime.relay.watermill import encode

logger = logging.getLogger(__name__)

NOTE_SECONDS, PUBLISH_SECONDS = 2.0, 60.0
"""How long one sender waits for Redis before its message is stored, and after that: an error would then say that it
isn't."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
LOOK_SECONDS = 1.0
"""How often intents are looked for that nobody works on."""
MAX_AT_ONCE = 20
FORGOTTEN_AFTER = 60.0
"""Seconds after which a message that isn't stored never will be: every call that could has ended long before."""
GIVEN_UP_AFTER = 86_400.0
"""Seconds after which it isn't asked any more whether a message is stored: its chat group may be gone for good."""

_event = msgspec.json.Decoder(MessageEvent)
Answer = TypeVar("Answer")


class MessagePublisher:
    """Publishes messages once they are stored; one a process."""

    def __init__(self, chat: ChatGateway, names: Names, intents: Intents) -> None:
        self._chat = chat
        self._names = names
        self._intents = intents
        self._working_on: dict[str, int] = {}

    @contextmanager
    def working_on(self, message_id: str) -> Iterator[None]:
        """Nobody else finishes this message meanwhile."""
        self._working_on[message_id] = self._working_on.get(message_id, 0) + 1
        try:
            yield
        finally:
            self._working_on[message_id] -= 1
            if not self._working_on[message_id]:
                del self._working_on[message_id]

    async def note(self, event: MessageEvent) -> Noted:
        """Say that a message is about to be stored.

        Raises:
            FrameError: 503, Redis is away, or `MAX_INTENTS` messages are noted already.
        """
        content = msgspec.json.encode(event)
        try:
            noted = await _patiently(lambda: self._intents.note(event.message_id, content), NOTE_SECONDS)
        except RedisUnavailable as error:
            raise _unavailable(error, "this try stored nothing") from error
        if noted is Noted.FULL:
            metrics.refusals.labels("intents").inc()
            problem = f"of {MAX_INTENTS} messages it isn't known whether they are stored: this try stored nothing"
            raise FrameError(503, problem, retry_after=RETRY_AFTER_SECONDS)
        return noted

    async def publish(self, event: MessageEvent) -> None:
        """Publish a stored message, unless that was done; waits for Redis to come back.

        Raises:
            FrameError: 503, Redis is still away. The message will be published.
        """
        entry = encode(msgspec.json.encode(await self._named(event)), tracing.current.entry_metadata())
        try:
            await _patiently(lambda: self._intents.fulfil(event.message_id, entry), PUBLISH_SECONDS)
        except RedisUnavailable as error:
            raise _unavailable(error, "the message is stored and will be published") from error

    async def withdraw(self, message_id: str) -> None:
        """A message was refused before anything was stored; if Redis can't be told, it is found out later."""
        with suppress(RedisUnavailable):
            await self._intents.withdraw(message_id)

    async def run(self) -> None:
        """Publish what dead gateways left stored, or what got no answer and was stored all the same."""
        said = ""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if self._working_on:
                    await self._intents.postpone(self._working_on)
                while claimed := await self._intents.claim(MAX_AT_ONCE):
                    await asyncio.gather(*(self._finish(intent) for intent in claimed))
                said = ""
            except TransientError as error:
                if str(error) != said:
                    logger.warning("messages left unpublished can't be looked for now: %s", error)
                said = str(error)

    async def _finish(self, intent: Intent) -> None:
        if intent.id in self._working_on:
            return
        try:
            event = _event.decode(intent.content)
            stored = await is_stored(self._chat, event.group_id, event.message_id, event.created_at)
        except (ChatServiceError, msgspec.DecodeError) as error:
            logger.info("whether message %s is stored can't be found out now: %s", intent.id, error)
            if intent.age >= GIVEN_UP_AFTER:
                logger.error("whether message %s is stored was never found out, it is given up: %s", intent.id, error)
                await self._intents.withdraw(intent.id)
            return
        if stored:
            if await self._intents.fulfil(intent.id, encode(msgspec.json.encode(await self._named(event)))):
                metrics.messages_finished.inc()
                logger.warning("message %s was stored and not published; it is now", event.message_id)
        elif intent.age >= FORGOTTEN_AFTER:
            await self._intents.withdraw(intent.id)

    async def _named(self, event: MessageEvent) -> MessageEvent:
        """The message with its sender's name, if the token said none."""
        if event.sender_name:
            return event
        found = await self._names.of([event.sender_id])
        if event.sender_id not in found:
            return event
        sender = found[event.sender_id]
        return structs.replace(event, sender_name=sender.name, sender_avatar=event.sender_avatar or sender.avatar)


async def _patiently(call: Callable[[], Awaitable[Answer]], seconds: float) -> Answer:
    """The answer of Redis, which may be away for so many seconds; raises what it raises then, or what never passes."""
    loop = asyncio.get_running_loop()
    deadline, wait = loop.time() + seconds, FIRST_WAIT
    while True:
        try:
            return await call()
        except RedisUnavailable:
            if loop.time() + wait > deadline:
                raise
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


def _unavailable(error: RedisUnavailable, state: str) -> FrameError:
    return FrameError(503, f"Redis can't be reached, {state}: {error}", retry_after=RETRY_AFTER_SECONDS)

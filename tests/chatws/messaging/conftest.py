"""Fixtures of sending: the intents in Redis and another gateway's publisher."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from chatws.chat_service.users import Names
from chatws.events.routes import MESSAGE_NEW
from chatws.messaging.message_publisher import MessagePublisher
from realtime.aio.tasks import end
from realtime.publishing.intents import Intents
from tests.support.redis import Redis
from tests.support.sending import NO_REDIS, ChatService


@pytest.fixture
def intents(redis: Redis) -> Intents:
    return Intents(redis, MESSAGE_NEW, 600)


@pytest.fixture
async def heir(intents: Intents) -> AsyncIterator[Callable[[ChatService], asyncio.Task[None]]]:
    """Start another gateway's publisher, which finishes remaining intents."""
    running: list[asyncio.Task[None]] = []

    def start(chat: ChatService) -> asyncio.Task[None]:
        running.append(asyncio.create_task(MessagePublisher(chat, Names(NO_REDIS), intents).run()))  # type: ignore[arg-type]
        return running[-1]

    yield start
    await end(running)

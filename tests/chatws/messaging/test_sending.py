"""Check sending once: concurrent retries, and what an error means for a stored message."""

import asyncio
from typing import Any

import pytest

from chatws.chat_service.port import ChatServiceError, error_of
from chatws.chat_service.users import Names
from chatws.events.routes import MESSAGE_NEW
from chatws.exceptions import FrameError
from chatws.messaging.message_publisher import MessagePublisher
from chatws.messaging.sending import Sender, stored_id
from realtime.exceptions import RedisUnavailable
from realtime.publishing.intents import Intents
from realtime.redis.client import connect
from tests.support.redis import RedisServer, free_port
from tests.support.sending import NO_REDIS, USER, ChatService, frame, noted, published, publishing


async def test_retry_waits_for_the_running_attempt() -> None:
    chat = ChatService()
    chat.answers.clear()
    sender = Sender(chat)  # type: ignore[arg-type]
    attempts = [asyncio.create_task(sender.send(USER, frame())) for _ in range(3)]
    other = asyncio.create_task(sender.send(USER, frame("other")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(chat.saved) == 2
    attempts[0].cancel()  # its connection is closed; the attempt continues
    chat.answers.set()
    assert await attempts[1] == await attempts[2] == stored_id(42, frame())
    assert await other == stored_id(42, frame("other"))
    assert len(chat.saved) == 2
    await sender.send(USER, frame())
    assert len(chat.saved) == 3, "one that has ended is asked again: the chat service knows the id"


async def test_failure_reaches_all_waiting_attempts_then_retry_succeeds() -> None:
    chat = ChatService()
    chat.failure = error_of(503, "away")
    sender = Sender(chat)  # type: ignore[arg-type]
    answers = await asyncio.gather(*(sender.send(USER, frame()) for _ in range(2)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["away", "away"]
    assert len(chat.saved) == 1
    chat.failure = None
    assert await sender.send(USER, frame())


async def test_ack_carries_the_id_of_the_chat_service() -> None:
    chat = ChatService()
    chat.answers_with = "its own"
    assert await Sender(chat).send(USER, frame()) == "its own"  # type: ignore[arg-type]


async def test_frames_without_an_id_are_never_equal() -> None:
    chat = ChatService()
    sender = Sender(chat)  # type: ignore[arg-type]
    await asyncio.gather(*(sender.send(USER, frame(message_id="")) for _ in range(3)))
    assert len({message["message_id"] for message in chat.saved}) == 3


async def test_published_message_is_acked_again_without_a_call(redis: Any, intents: Intents) -> None:
    chat = ChatService()
    sender = publishing(chat, intents)
    first = await sender.send(USER, frame())
    chat.failure = error_of(503, "a message that it has")
    assert await sender.send(USER, frame()) == first
    assert len(chat.saved) == 1
    assert await published(redis) == [first]


@pytest.mark.parametrize("publishes", [True, False])
async def test_error_after_a_commit_counts_as_success(redis: Any, intents: Intents, publishes: bool) -> None:
    chat = ChatService()
    chat.failure, chat.commits = error_of(503, "the database is away"), True
    sender = publishing(chat, intents) if publishes else Sender(chat)  # type: ignore[arg-type]
    message_id = await sender.send(USER, frame())
    assert chat.stored == [message_id]
    assert await published(redis) == [message_id] * publishes


async def test_failed_history_lookup_is_retried(redis: Any, intents: Intents) -> None:
    chat = ChatService()
    chat.failure, chat.commits = error_of(503, "it hangs"), True
    chat.history_failure, chat.history_fails = error_of(503, "it hangs"), 2
    message_id = await publishing(chat, intents).send(USER, frame())
    assert await published(redis) == [message_id]


async def test_stored_message_is_found_although_calls_fail_fast(
    redis: Any, intents: Intents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatws.messaging.sending.FIND_OUT_SECONDS", 0.5)
    chat = ChatService()
    chat.failure, chat.commits = error_of(503, "it hangs"), True
    chat.history_failure = chat.failure
    sender = publishing(chat, intents)
    with pytest.raises(ChatServiceError, match="it hangs"):
        await sender.send(USER, frame())
    chat.failure, chat.commits = error_of(503, "calls fail at once", was_asked=False), False
    chat.history_failure, chat.history_fails = chat.failure, 1
    message_id = await sender.send(USER, frame())
    assert (await published(redis), await noted(redis)) == ([message_id], 0)


async def test_unstored_message_is_not_published_and_may_be_retried(redis: Any, intents: Intents) -> None:
    chat = ChatService()
    chat.failure = error_of(503, "the database is away")
    sender = publishing(chat, intents)
    with pytest.raises(ChatServiceError, match="the database is away"):
        await sender.send(USER, frame())
    assert await published(redis) == []
    chat.failure = None
    message_id = await sender.send(USER, frame())
    assert await published(redis) == [message_id]
    assert await noted(redis) == 0


@pytest.mark.parametrize("code", [403, 429])
async def test_rejected_retry_of_a_stored_message_is_acked(
    redis: Any, intents: Intents, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("chatws.messaging.sending.FIND_OUT_SECONDS", 0.5)
    chat = ChatService()
    chat.failure, chat.commits = error_of(503, "it hangs"), True
    chat.history_failure = chat.failure
    sender = publishing(chat, intents)
    with pytest.raises(ChatServiceError, match="it hangs"):
        await sender.send(USER, frame())
    chat.failure, chat.commits, chat.history_failure = error_of(code, "no"), False, None
    message_id = await sender.send(USER, frame())
    assert await published(redis) == [message_id]


async def test_nothing_is_stored_without_redis() -> None:
    away = connect(f"redis://127.0.0.1:{free_port()}/0")
    chat = ChatService()
    with pytest.raises(FrameError, match="this try stored nothing") as refused:
        await publishing(chat, Intents(away, MESSAGE_NEW, 600)).send(USER, frame())
    assert (refused.value.code, refused.value.retry_after) == (503, 2)
    assert chat.saved == []
    await away.aclose()


class NoRedis:
    """A limit without its Redis."""

    async def take(self, user_id: int) -> float:
        raise RedisUnavailable("refused")


@pytest.mark.parametrize("limit", [None, NoRedis()])
async def test_retry_of_a_stored_message_waits_for_redis(
    redis: Any, redis_server: RedisServer, intents: Intents, monkeypatch: pytest.MonkeyPatch, limit: Any
) -> None:
    monkeypatch.setattr("chatws.messaging.message_publisher.NOTE_SECONDS", 0.1)
    chat = ChatService()
    chat.failure, chat.commits = error_of(503, "away"), True
    chat.history_failure = error_of(503, "away")
    publisher = MessagePublisher(chat, Names(NO_REDIS), intents)  # type: ignore[arg-type]
    with pytest.raises(ChatServiceError, match="away"):
        await Sender(chat, publisher).send(USER, frame())  # type: ignore[arg-type]
    await asyncio.to_thread(redis_server.kill)
    chat.history_failure = None
    sending = asyncio.create_task(Sender(chat, publisher, limit).send(USER, frame()))  # type: ignore[arg-type]
    with pytest.raises(FrameError, match="this try stored nothing"):  # a message that is not stored
        await Sender(chat, publisher, limit).send(USER, frame("other"))  # type: ignore[arg-type]
    assert not sending.done()
    await asyncio.to_thread(redis_server.start)
    message_id = await sending
    assert await published(redis) == [message_id]
    assert (len(chat.saved), await noted(redis)) == (1, 0)

"""Check sending once: concurrent retries, the publisher, and what an error means for a stored message."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from chatws.chat_service.port import ChatServiceError, History, Message, error_of
from chatws.chat_service.users import Names
from chatws.events.payloads import MessageEvent
from chatws.events.routes import MESSAGE_NEW
from chatws.exceptions import FrameError
from chatws.messaging.message_publisher import MessagePublisher
from chatws.messaging.sending import Sender, stored_id
from chatws.protocol.frames import SendMessage, SendMessageData
from realtime.aio.tasks import end
from realtime.auth.principal import Principal
from realtime.exceptions import RedisUnavailable
from realtime.publishing.intents import Intents
from realtime.redis.client import Redis, connect
from tests.support.redis import RedisServer, free_port
from tests.support.waiting import until_answer

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


@pytest.fixture
def intents(redis: Redis) -> Intents:
    return Intents(redis, MESSAGE_NEW, 600)


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


async def test_gateway_publishes_watermill_entry_with_token_name(redis: Any, intents: Intents) -> None:
    began = int(time.time())
    message_id = await publishing(ChatService(), intents).send(USER, frame())
    [(_, fields)] = await redis.xrange(MESSAGE_NEW)
    assert set(fields) == {b"_watermill_message_uuid", b"metadata", b"payload"}
    assert msgspec.msgpack.decode(fields[b"metadata"]) == {}
    payload = json.loads(fields[b"payload"])
    assert began <= payload.pop("created_at") <= time.time()
    assert payload == {
        "message_id": message_id, "group_id": "g1", "sender_id": 42, "sender_name": "Zoë",
        "sender_avatar": "https://x.example/z.png", "msg_type": 1, "content": "hello", "image_url": "",
    }  # fmt: skip
    assert await noted(redis) == 0


async def test_message_is_dated_before_it_is_stored(redis: Any, intents: Intents) -> None:
    chat = ChatService()
    chat.answers.clear()
    sending = asyncio.create_task(publishing(chat, intents).send(USER, frame()))
    await until_answer(lambda: noted(redis), lambda count: count == 1, "an intent")
    [content] = await redis.hvals("chatws:{chat.message.new}:intents")
    chat.answers.set()
    await sending
    [(_, fields)] = await redis.xrange(MESSAGE_NEW)
    assert content.partition(b":")[2] == fields[b"payload"]


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


@pytest.mark.parametrize("code", [400, 403, 404, 409])
async def test_rejected_message_leaves_no_intent(redis: Any, intents: Intents, code: int) -> None:
    chat = ChatService()
    chat.failure = error_of(code, "no")
    with pytest.raises(ChatServiceError, match="no"):
        await publishing(chat, intents).send(USER, frame())
    assert (await published(redis), await noted(redis)) == ([], 0)


async def test_rejected_retry_keeps_the_intent_of_earlier_attempt(
    redis: Any, intents: Intents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatws.messaging.sending.FIND_OUT_SECONDS", 0.5)
    chat = ChatService()
    chat.failure, chat.commits = error_of(503, "away"), True
    chat.history_failure = error_of(503, "away")
    sender = publishing(chat, intents)
    with pytest.raises(ChatServiceError, match="away"):
        await sender.send(USER, frame())
    chat.failure, chat.commits = error_of(403, "no longer a member"), False
    with pytest.raises(ChatServiceError, match="no longer"):
        await sender.send(USER, frame())
    assert await noted(redis) == 1


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


async def test_uncalled_chat_service_leaves_no_intent(redis: Any, intents: Intents) -> None:
    chat = ChatService()
    chat.failure = error_of(503, "calls fail at once", was_asked=False)
    chat.history_failure = AssertionError("nor is its history")
    with pytest.raises(ChatServiceError, match="at once"):
        await publishing(chat, intents).send(USER, frame())
    assert await noted(redis) == 0


async def test_nothing_is_stored_without_redis() -> None:
    away = connect(f"redis://127.0.0.1:{free_port()}/0")
    chat = ChatService()
    with pytest.raises(FrameError, match="this try stored nothing") as refused:
        await publishing(chat, Intents(away, MESSAGE_NEW, 600)).send(USER, frame())
    assert (refused.value.code, refused.value.retry_after) == (503, 2)
    assert chat.saved == []
    await away.aclose()


async def test_sender_waits_for_redis(redis: Any, redis_server: RedisServer, intents: Intents) -> None:
    chat = ChatService()
    chat.answers.clear()
    sending = asyncio.create_task(publishing(chat, intents).send(USER, frame()))
    await until_answer(lambda: noted(redis), lambda count: count == 1, "an intent")
    await asyncio.to_thread(redis_server.kill)
    chat.answers.set()
    await asyncio.to_thread(redis_server.start)
    message_id = await sending
    assert await published(redis) == [message_id]
    assert await noted(redis) == 0


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


@pytest.fixture
async def heir(intents: Intents) -> AsyncIterator[Callable[[ChatService], asyncio.Task[None]]]:
    """Start another gateway's publisher, which finishes remaining intents."""
    running: list[asyncio.Task[None]] = []

    def start(chat: ChatService) -> asyncio.Task[None]:
        running.append(asyncio.create_task(MessagePublisher(chat, Names(NO_REDIS), intents).run()))  # type: ignore[arg-type]
        return running[-1]

    yield start
    await end(running)


async def test_another_gateway_publishes_stored_messages_of_dead_gateway(
    redis: Any, intents: Intents, heir: Callable[[ChatService], asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.publishing.intents.LEASE_MS", 200)
    monkeypatch.setattr("chatws.messaging.message_publisher.FORGOTTEN_AFTER", 1.0)
    chat = ChatService()
    dead = MessagePublisher(chat, Names(NO_REDIS), intents)  # type: ignore[arg-type]
    for name in ("stored", "lost"):
        await dead.note(MessageEvent(message_id=name, group_id="g1", sender_id=42, msg_type=1, content=name))
    chat.stored.append("stored")
    heir(chat), heir(chat)
    await until_answer(lambda: noted(redis), lambda count: count == 0, "all intents finished")
    assert await published(redis) == ["stored"]


async def test_message_stored_after_an_error_is_published_later(
    redis: Any, intents: Intents, heir: Callable[[ChatService], asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.publishing.intents.LEASE_MS", 200)
    chat = ChatService()
    chat.failure = error_of(503, "deadline exceeded")
    with pytest.raises(ChatServiceError):
        await publishing(chat, intents).send(USER, frame())
    heir(chat)
    chat.stored.append(stored_id(42, frame()))
    assert await until_answer(lambda: published(redis), what="the message") == chat.stored


async def test_unresolvable_intent_blocks_no_other_and_expires(
    redis: Any, intents: Intents, heir: Callable[[ChatService], asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("realtime.publishing.intents.LEASE_MS", 200)
    chat = ChatService()
    await intents.note("another release's", b'{"of": "another release"}')
    await MessagePublisher(chat, Names(NO_REDIS), intents).note(  # type: ignore[arg-type]
        MessageEvent(message_id="stored", group_id="g1", sender_id=42, msg_type=1, content="stored")
    )
    chat.stored.append("stored")
    heir(chat)
    await until_answer(lambda: published(redis), lambda ids: ids == ["stored"], "the other one")
    assert await noted(redis) == 1
    monkeypatch.setattr("chatws.messaging.message_publisher.GIVEN_UP_AFTER", 0.5)
    await until_answer(lambda: noted(redis), lambda count: count == 0, "given up")
    assert "another release's is stored was never found out" in caplog.text


async def test_unresolved_intents_are_bounded(redis: Any, intents: Intents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.publishing.intents.MOST", 1)
    chat = ChatService()
    chat.failure = chat.history_failure = error_of(503, "away")
    sender = publishing(chat, intents)
    for _ in range(2):  # a repeat adds no intent
        with pytest.raises(ChatServiceError, match="away"):
            await sender.send(USER, frame())
    with pytest.raises(FrameError, match="it isn't known whether they are stored") as refused:
        await sender.send(USER, frame(message_id="c-2"))
    assert (refused.value.code, refused.value.retry_after) == (503, 2)
    assert (len(chat.saved), await noted(redis)) == (2, 1)


async def test_running_intent_is_not_taken_over(
    redis: Any, intents: Intents, heir: Callable[[ChatService], asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.publishing.intents.LEASE_MS", 2_500)
    chat = ChatService()
    chat.answers.clear()
    publisher = MessagePublisher(chat, Names(NO_REDIS), intents)  # type: ignore[arg-type]
    beating = asyncio.create_task(publisher.run())
    sending = asyncio.create_task(Sender(chat, publisher).send(USER, frame()))  # type: ignore[arg-type]
    await until_answer(lambda: noted(redis), lambda count: count == 1, "an intent")
    [(_, first)] = await redis.zrange("chatws:{chat.message.new}:intents:due", 0, -1, withscores=True)

    async def due() -> float:
        [(_, score)] = await redis.zrange("chatws:{chat.message.new}:intents:due", 0, -1, withscores=True)
        return float(score)

    heir(chat)
    await until_answer(due, lambda score: score > first + 2_500, "it was put off for longer than it was left alone")
    assert await published(redis) == []
    chat.answers.set()
    await sending
    await end([beating])
    assert await published(redis) == chat.stored

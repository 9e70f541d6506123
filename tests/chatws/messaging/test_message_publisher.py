"""Check the publisher: the entry in the topic, its intent, and gateways that finish those of a dead one."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chatws.chat_service.port import ChatServiceError, error_of
from chatws.chat_service.users import Names
from chatws.events.payloads import MessageEvent
from chatws.events.routes import MESSAGE_NEW
from chatws.exceptions import FrameError
from chatws.messaging.message_publisher import MessagePublisher
from chatws.messaging.sending import Sender, stored_id
from realtime.aio.tasks import end
from realtime.publishing.intents import Intents
from tests.support.redis import RedisServer
from tests.support.sending import NO_REDIS, USER, ChatService, frame, noted, published, publishing
from tests.support.waiting import until_answer


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


async def test_uncalled_chat_service_leaves_no_intent(redis: Any, intents: Intents) -> None:
    chat = ChatService()
    chat.failure = error_of(503, "calls fail at once", was_asked=False)
    chat.history_failure = AssertionError("nor is its history")
    with pytest.raises(ChatServiceError, match="at once"):
        await publishing(chat, intents).send(USER, frame())
    assert await noted(redis) == 0


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


async def test_another_gateway_publishes_stored_messages_of_dead_gateway(
    redis: Any, intents: Intents, heir: Callable[[ChatService], asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.publishing.intents.LEASE_MS", 200)
    monkeypatch.setattr("chatws.messaging.message_publisher.FORGET_SECONDS", 1.0)
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
    monkeypatch.setattr("chatws.messaging.message_publisher.GIVE_UP_SECONDS", 0.5)
    await until_answer(lambda: noted(redis), lambda count: count == 0, "given up")
    assert "another release's will not be published" in caplog.text


async def test_unresolved_intents_are_bounded(redis: Any, intents: Intents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.publishing.intents.MAX_INTENTS", 1)
    chat = ChatService()
    chat.failure = chat.history_failure = error_of(503, "away")
    sender = publishing(chat, intents)
    for _ in range(2):  # a repeat adds no intent
        with pytest.raises(ChatServiceError, match="away"):
            await sender.send(USER, frame())
    with pytest.raises(FrameError, match="messages have an unknown result") as refused:
        await sender.send(USER, frame(message_id="c-2"))
    assert (refused.value.code, refused.value.retry_after) == (503, 2)
    assert (len(chat.saved), await noted(redis)) == (2, 1)


async def test_running_intent_is_not_taken_over(
    redis: Any, intents: Intents, heir: Callable[[ChatService], asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.publishing.intents.LEASE_MS", 60_000)  # longer than a busy machine stalls
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
    await until_answer(due, lambda score: score > first + 2_500, "the intent is postponed again and again")
    assert await published(redis) == []
    chat.answers.set()
    await sending
    await end([beating])
    assert await published(redis) == chat.stored

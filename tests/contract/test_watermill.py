"""Publish entries as Watermill's Redis publisher writes them, and check each topic's frames at a client.

The bytes are written by hand from docs/protocol.md (Redis Streams), not by our own encoder.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.conftest import Connect
from tests.support.chat import Chat, new_user
from tests.support.redis import Redis, connect
from tests.support.stack import Stack
from tests.support.waiting import until_answer

UUID = b"6ba7b810-9dad-11d1-80b4-00c04fd430c8"
TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"

# fixmap of 3, unsorted: "topic" → fixstr; "trace_id" → str8 of 32 bytes; "source_service" → fixstr
METADATA = b"\x83\xa5topic\xb0chat.message.new\xa8trace_id\xd9\x20" + TRACE + b"\xaesource_service\xa8chat-rpc"


@pytest.fixture
async def topics(stack: Stack) -> AsyncIterator[Any]:
    client: Redis = connect(stack.redis.url)
    yield client
    await client.aclose()


async def dead_letter(topics: Any, topic: str, entry_id: bytes) -> dict[bytes, bytes]:
    """Return the dead letter of an entry once it exists."""

    async def look() -> dict[bytes, bytes] | None:
        for _, fields in await topics.xrange(f"{topic}.dlq"):
            if msgspec.msgpack.decode(fields[b"metadata"])["dlq_entry_id"] == entry_id.decode():
                return dict(fields)
        return None

    found = await until_answer(look, what=f"a dead letter for {entry_id!r}")
    assert found
    return found


async def test_new_message_is_delivered(topics: Any, log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = await log_in(user)
    data = {
        "message_id": f"m-{user}", "group_id": group, "sender_id": 2**64 - 1, "sender_name": "Zoë",
        "sender_avatar": "https://a.example/z.png", "msg_type": 1, "content": "你好 <b>", "image_url": "",
        "created_at": 1_700_000_000,
    }  # fmt: skip
    payload = json.dumps(data, ensure_ascii=False).encode()
    await topics.xadd(
        "chat.message.new", {b"payload": payload, b"metadata": METADATA, b"_watermill_message_uuid": UUID}
    )
    frame = await client.expect("new_message")
    assert frame["data"] == {**data, "sender": str(2**64 - 1)}
    assert frame["message_id"] == f"m-{user}"
    assert frame["timestamp"] == 1_700_000_000
    assert frame["feed"] == f"group:{group}"


@pytest.mark.reference_only
async def test_message_published_twice_is_delivered_once(topics: Any, log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = await log_in(user)
    for number in ("1", "1", "2"):
        payload = {"message_id": f"{user}-{number}", "group_id": group, "sender_id": 1, "msg_type": 1, "created_at": 1}
        await topics.xadd("chat.message.new", {"payload": json.dumps(payload)})
    assert (await client.expect("new_message"))["message_id"] == f"{user}-1"
    assert (await client.expect("new_message"))["message_id"] == f"{user}-2"


async def test_notification_is_delivered(topics: Any, log_in: Connect) -> None:
    user = new_user()
    client = await log_in(user)
    event = {
        "user_id": user, "notification_id": f"n{user}", "type": "system", "title": "Hi", "content": "there",
        "timestamp": 1_700_000_001,
    }  # fmt: skip
    await topics.xadd(
        "notification:push", {b"metadata": b"\x80", b"_watermill_message_uuid": UUID, b"payload": json.dumps(event)}
    )
    frame = await client.expect("notification")
    assert frame["message_id"] == f"notif_n{user}"
    assert frame["timestamp"] == 1_700_000_001
    assert frame["data"] == {"notification_id": f"n{user}", "type": "system", "title": "Hi", "content": "there"}
    assert frame["feed"] == f"user:{user}"


async def test_verification_progress_is_delivered(topics: Any, log_in: Connect) -> None:
    user = new_user()
    client = await log_in(user)
    event = {"user_id": user, "verify_id": 5, "status": 2, "operator": "secret", "refresh": True, "timestamp": 77}
    await topics.xadd("verify:progress", {b"metadata": b"", b"payload": json.dumps(event)})
    frame = await client.expect("verify_progress")
    assert (frame["message_id"], frame["timestamp"]) == ("verify_5_77", 77)
    assert frame["data"] == {"verify_id": 5, "status": 2, "refresh": True}

    entry_id = await topics.xadd("verify:progress", {b"payload": json.dumps({**event, "timestamp": 0})})
    frame = await client.expect("verify_progress")
    seconds = int(entry_id.partition(b"-")[0]) // 1000
    assert (frame["message_id"], frame["timestamp"]) == (f"verify_5_{seconds}", seconds)


async def test_member_events_of_another_service_are_applied(topics: Any, log_in: Connect, chat: Chat) -> None:
    owner, stranger = new_user(), new_user()
    group = await chat.group(owner)
    speaker, client = await log_in(owner), await log_in(stranger)
    payload = json.dumps({"group_id": group, "user_id": stranger}).encode()
    await topics.xadd("chat.group.member.added", {b"payload": payload, b"metadata": METADATA})
    assert (await client.expect("membership"))["data"] == {"group_id": group, "change": "added"}
    # The event is a hint: the chat service does not list this member, so nothing is delivered.
    await speaker.expect("group_member", lambda frame: frame["data"]["user_id"] == stranger)
    await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "x"})
    await speaker.expect("new_message")
    assert {frame["type"] for frame in await client.settled()} == set()


GOOD_MESSAGE = {"message_id": "m", "group_id": "g", "sender_id": 1, "msg_type": 1, "created_at": 1}
GOOD_NOTIFICATION = {"type": "t", "title": "t", "content": "c", "timestamp": 1}
GOOD_VERIFY = {"user_id": 1, "verify_id": 1, "status": 1, "refresh": False, "timestamp": 1}


@pytest.mark.reference_only
@pytest.mark.parametrize(
    ("topic", "fields", "reason"),
    [
        ("chat.message.new", {b"_watermill_message_uuid": UUID}, "payload"),
        ("chat.message.new", {b"payload": b"{"}, "payload"),
        ("chat.message.new", {b"payload": b"\xff"}, "payload"),
        ("chat.message.new", {b"payload": b"[" * 5000}, "payload"),
        ("chat.message.new", {b"payload": json.dumps(GOOD_MESSAGE), b"metadata": b"\xd9"}, "metadata"),
        ("chat.message.new", {b"payload": json.dumps(GOOD_MESSAGE), b"metadata": b"\x81\xa1a\x01"}, "metadata"),
        ("chat.message.new", {b"payload": json.dumps({**GOOD_MESSAGE, "sender_id": 0})}, "sender_id"),
        ("chat.message.new", {b"payload": json.dumps({**GOOD_MESSAGE, "sender_id": 2**64})}, "sender_id"),
        ("chat.message.new", {b"payload": json.dumps({**GOOD_MESSAGE, "sender_id": "one"})}, "sender_id"),
        ("chat.message.new", {b"payload": json.dumps({**GOOD_MESSAGE, "group_id": "a:b"})}, "group_id"),
        ("chat.message.new", {b"payload": json.dumps({**GOOD_MESSAGE, "message_id": ""})}, "message_id"),
        ("chat.group.member.added", {b"payload": b'{"group_id": "g"}'}, "user_id"),
        ("chat.group.member.removed", {b"payload": b'{"group_id": "g", "user_id": -1}'}, "user_id"),
        ("notification:push", {b"payload": b'{"user_id": 1}'}, "notification_id"),
        ("verify:progress", {b"payload": json.dumps({**GOOD_VERIFY, "refresh": 1})}, "refresh"),
        ("verify:progress", {b"payload": json.dumps({**GOOD_VERIFY, "status": "1.5"})}, "status"),
        ("verify:progress", {b"payload": json.dumps({**GOOD_VERIFY, "verify_id": True})}, "verify_id"),
    ],
)
async def test_poison_entry_becomes_a_dead_letter(
    topics: Any, log_in: Connect, chat: Chat, topic: str, fields: dict[bytes, Any], reason: str
) -> None:
    user = new_user()
    client = await log_in(user)
    entry_id = await topics.xadd(topic, fields)
    letter = await dead_letter(topics, topic, entry_id)
    payload = fields.get(b"payload", b"")
    assert letter[b"payload"] == (payload.encode() if isinstance(payload, str) else payload)
    assert letter[b"_watermill_message_uuid"] == fields.get(b"_watermill_message_uuid", b"")
    metadata = msgspec.msgpack.decode(letter[b"metadata"])
    assert reason in metadata["dlq_reason"]
    assert metadata["dlq_original_topic"] == topic
    assert metadata["dlq_replays"] == "0"
    assert metadata["dlq_handler_name"]
    assert "T" in metadata["dlq_timestamp"]
    if reason == "metadata":
        assert letter[b"dlq_metadata"] == fields[b"metadata"]

    group = await chat.group(user)
    good, frame = {
        "chat.message.new": ({**GOOD_MESSAGE, "message_id": f"m{user}", "group_id": group}, "new_message"),
        "chat.group.member.added": ({"group_id": group, "user_id": user}, "group_member"),
        "chat.group.member.removed": ({"group_id": group, "user_id": user}, "group_member"),
        "notification:push": ({**GOOD_NOTIFICATION, "user_id": user, "notification_id": f"n{user}"}, "notification"),
        "verify:progress": ({**GOOD_VERIFY, "user_id": user}, "verify_progress"),
    }[topic]
    await client.expect("group_joined")
    await topics.xadd(topic, {"payload": json.dumps(good)})
    await client.expect(frame)


async def test_dead_letter_keeps_readable_metadata(topics: Any, stack: Stack) -> None:
    entry_id = await topics.xadd("notification:push", {b"payload": b"1", b"metadata": METADATA})
    metadata = msgspec.msgpack.decode((await dead_letter(topics, "notification:push", entry_id))[b"metadata"])
    assert metadata["trace_id"] == TRACE.decode()
    assert metadata["source_service"] == "chat-rpc"

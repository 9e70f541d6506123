"""Sending once: a retry while the first attempt is under way, and who publishes."""

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest

from chatws.exceptions import FrameError
from chatws.frames import SendMessage, SendMessageData
from chatws.rpc.gateway import ChatServiceError
from chatws.sending import Sender, stored_id
from realtime.auth import Principal
from realtime.conf import RealtimeConf
from realtime.redis import connect
from tests.support.redis import free_port

USER = Principal(user_id=42, expires_at=0, name="Zoë", avatar="https://x.example/z.png")


class ChatService:
    """Answers when it is let; counts."""

    def __init__(self) -> None:
        self.saved: list[dict[str, Any]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.failure: Exception | None = None

    async def save_message(self, **message: Any) -> str:
        self.saved.append(message)
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return str(message["message_id"])


def frame(text: str = "hello", message_id: str = "c-1") -> SendMessage:
    return SendMessage(message_id=message_id, timestamp=1_700_000_000, data=SendMessageData("g1", 1, text))


async def test_a_retry_while_the_first_attempt_is_under_way_waits_for_it() -> None:
    chat = ChatService()
    chat.answers.clear()
    sender = Sender(chat)  # type: ignore[arg-type]
    attempts = [asyncio.create_task(sender.send(USER, frame())) for _ in range(3)]
    other = asyncio.create_task(sender.send(USER, frame("other")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(chat.saved) == 2
    attempts[0].cancel()  # its connection is gone; the attempt goes on
    chat.answers.set()
    assert await attempts[1] == await attempts[2] == stored_id(42, frame())
    assert await other == stored_id(42, frame("other"))
    assert len(chat.saved) == 2
    await sender.send(USER, frame())
    assert len(chat.saved) == 3, "one that has ended is asked again: the chat service knows the id"


async def test_all_who_wait_hear_of_a_failure_and_the_next_try_is_fresh() -> None:
    chat = ChatService()
    chat.failure = ChatServiceError(503, "away")
    sender = Sender(chat)  # type: ignore[arg-type]
    answers = await asyncio.gather(*(sender.send(USER, frame()) for _ in range(2)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["away", "away"]
    assert len(chat.saved) == 1
    chat.failure = None
    assert await sender.send(USER, frame())


async def test_frames_without_an_id_are_never_the_same() -> None:
    chat = ChatService()
    sender = Sender(chat)  # type: ignore[arg-type]
    await asyncio.gather(*(sender.send(USER, frame(message_id="")) for _ in range(3)))
    assert len({message["message_id"] for message in chat.saved}) == 3


async def test_the_gateway_publishes_in_watermill_s_form_with_the_name_of_the_token(redis: Any) -> None:
    sender = Sender(ChatService(), redis)  # type: ignore[arg-type]
    began = int(time.time())
    message_id = await sender.send(USER, frame())
    [(_, fields)] = await redis.xrange("chat.message.new")
    assert set(fields) == {b"_watermill_message_uuid", b"metadata", b"payload"}
    assert msgspec.msgpack.decode(fields[b"metadata"]) == {}
    payload = json.loads(fields[b"payload"])
    assert began <= payload.pop("created_at") <= time.time()
    assert payload == {
        "message_id": message_id, "group_id": "g1", "sender_id": 42, "sender_name": "Zoë",
        "sender_avatar": "https://x.example/z.png", "msg_type": 1, "content": "hello", "image_url": "",
    }  # fmt: skip


async def test_what_is_stored_and_can_not_be_published_asks_for_a_retry(conf: RealtimeConf) -> None:
    away = connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(FrameError, match="send it again") as refused:
        await Sender(ChatService(), away).send(USER, frame())  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.retry_after) == (503, 2)
    await away.aclose()

"""Check sending once over the whole chain, with either publisher (docs/protocol.md, "Sending once")."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
import redis as redis_py

from chatws.messaging.sending import stored_id
from chatws.protocol.frames import SendMessage, SendMessageData
from tests.conftest import Connect
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT, until


async def test_repeated_frame_gets_same_ack_and_one_delivery(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    first, second = await log_in(user), await log_in(user)
    data = {"group_id": group, "msg_type": 1, "content": "once"}
    again = {"message_id": "c-once", "timestamp": int(time.time())}
    clients = (first, second, first)
    for client in clients:
        await client.send("send_message", data, **again)
    acks = [await client.answer("c-once") for client in clients]
    assert len({ack["data"]["message_id"] for ack in acks}) == 1
    await first.ask("send_message", {**data, "content": "the end"})
    await first.expect("new_message", lambda frame: frame["data"]["content"] == "the end")
    assert [f["data"]["content"] for f in first.seen if f["type"] == "new_message"] == ["once", "the end"]
    assert sorted(await chat.history(group)) == ["once", "the end"]


@pytest.fixture(scope="module")
def publishing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start a stack with a chat service that does not publish messages."""
    stack = Stack(tmp_path_factory.mktemp("publishing"), CHATWS_MESSAGE_PUBLISHER="gateway")
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
async def silent_chat(publishing: Stack) -> AsyncIterator[Chat]:
    chat = Chat(publishing.rpc_target)
    yield chat
    await chat.close()


async def enter(gateway: Gateway, user: int, **claims: str) -> Client:
    client = await connect(gateway.ws)
    answer = await client.ask("auth", {"token": make_token(user, 600, **claims)})
    assert answer["type"] == "auth_success", answer
    return client


async def test_gateway_publishes_if_the_chat_service_does_not(publishing: Stack, silent_chat: Chat) -> None:
    speaker, listener = new_user(), new_user()
    group = await silent_chat.group(speaker, listener)
    gateway = publishing.start_gateway()
    one = await enter(gateway, speaker, name="Zoë", avatar="https://x.example/z.png")
    two = await enter(gateway, listener)
    data = {"group_id": group, "msg_type": 1, "content": "hello"}
    again = {"message_id": "c-1", "timestamp": int(time.time())}
    acks = [await one.ask("send_message", data, **again) for _ in range(2)]
    shown = await two.expect("new_message")
    assert shown["data"]["message_id"] == acks[0]["data"]["message_id"] == acks[1]["data"]["message_id"]
    assert (shown["data"]["sender_name"], shown["data"]["sender_avatar"]) == ("Zoë", "https://x.example/z.png")
    await one.ask("send_message", {**data, "content": "the end"})
    await two.expect("new_message", lambda frame: frame["data"]["content"] == "the end")
    assert [f["data"]["content"] for f in two.seen if f["type"] == "new_message"] == ["hello", "the end"]
    assert await silent_chat.history(group) == ["hello", "the end"]
    for client in (one, two):
        await client.close()


async def test_address_the_platform_cannot_store_is_rejected(publishing: Stack, silent_chat: Chat) -> None:
    user = new_user()
    group = await silent_chat.group(user)
    client = await enter(publishing.gateway, user)
    for length, answered in ((512, "ack"), (513, "error")):
        url = "https://x.example/".ljust(length, "y")
        answer = await client.ask("send_message", {"group_id": group, "msg_type": 2, "image_url": url})
        assert answer["type"] == answered
    assert (answer["data"]["code"], "image_url" in answer["data"]["message"]) == (400, True)
    await client.close()


INTENTS = "chatws:{chat.message.new}:intents"


def id_of(user: int, data: Mapping[str, Any], envelope: Mapping[str, Any]) -> str:
    """Return the server's id of a message."""
    return stored_id(user, SendMessage(**envelope, data=SendMessageData(**data)))


async def test_another_gateway_publishes_after_a_crash(publishing: Stack, silent_chat: Chat) -> None:
    speaker, listener = new_user(), new_user()
    group = await silent_chat.group(speaker, listener)
    doomed, other = publishing.start_gateway(), publishing.start_gateway()
    one, two = await enter(doomed, speaker), await enter(other, listener)
    data = {"group_id": group, "msg_type": 1, "content": "survives"}
    again = {"message_id": "c-2", "timestamp": int(time.time())}
    with redis_py.Redis.from_url(publishing.redis.url) as client:
        before = client.xlen("chat.message.new")
        with publishing.group_locked(group):
            await one.send("send_message", data, **again)
            await until(lambda: client.hexists(INTENTS, id_of(speaker, data, again)), what="an intent")
            client.client_pause(int(2_000 * LIMIT), all=False)  # from now on Redis answers no write
        try:
            await silent_chat.until_said(group, "survives")
            doomed.kill()
        finally:
            client.client_unpause()
        assert client.xlen("chat.message.new") == before
    shown = await two.expect("new_message")  # although no client sends it again
    assert shown["data"]["content"] == "survives"
    retry = await enter(other, speaker)
    ack = await retry.ask("send_message", data, **again)
    assert (ack["type"], ack["data"]["message_id"]) == ("ack", shown["message_id"])
    assert await silent_chat.history(group) == ["survives"]
    assert [f["type"] for f in await two.settled() if f["type"] == "new_message"] == []
    for socket in (two, retry):
        await socket.close()


async def test_crash_before_storing_publishes_nothing(publishing: Stack, silent_chat: Chat) -> None:
    speaker, listener = new_user(), new_user()
    group = await silent_chat.group(speaker, listener)
    doomed, other = publishing.start_gateway(), publishing.start_gateway()
    one, two = await enter(doomed, speaker), await enter(other, listener)
    service = next(process for process in publishing.processes if process.name.startswith("rpc"))
    with redis_py.Redis.from_url(publishing.redis.url) as client:
        data = {"group_id": group, "msg_type": 1, "content": "lost"}
        once = {"message_id": "c-3", "timestamp": int(time.time())}
        service.pause()
        try:
            await one.send("send_message", data, **once)
            await until(lambda: client.hexists(INTENTS, id_of(speaker, data, once)), what="an intent")
            doomed.kill()
        finally:
            service.go_on()
    shown = [f["data"]["content"] for f in await two.settled() if f["type"] == "new_message"]
    assert set(shown) <= set(await silent_chat.history(group)), "nothing is shown that isn't stored"
    await two.close()


async def test_redis_restart_costs_no_sender_an_ack(publishing: Stack, silent_chat: Chat) -> None:
    """Restart Redis: each pooled connection of the gateway is dead afterwards, and each message uses one."""
    users = [new_user() for _ in range(24)]
    group = await silent_chat.group(*users)
    gateway = publishing.start_gateway()
    clients = [await enter(gateway, user) for user in users]
    for round_ in ("before", "after"):
        said = {"group_id": group, "msg_type": 1, "content": round_}
        answers = await asyncio.gather(*(client.ask("send_message", said) for client in clients))
        assert [answer for answer in answers if answer["type"] != "ack"] == []
        for client in clients:
            for _ in clients:
                assert (await client.expect("new_message"))["data"]["content"] == round_
        if round_ == "before":
            await asyncio.to_thread(publishing.redis.stop)
            await asyncio.to_thread(publishing.redis.start)
    for client in clients:
        await client.close()

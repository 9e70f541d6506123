"""Sending once over the whole chain, also where the gateway publishes (docs/protocol.md, "Sending once")."""

import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis as redis_py

from tests.conftest import Connect
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT


async def test_a_frame_sent_again_unchanged_gets_the_same_ack_and_is_delivered_once(
    log_in: Connect, chat: Chat
) -> None:
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
    assert await chat.history(group) == ["once", "the end"]


@pytest.fixture(scope="module")
def publishing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack beside a chat service that doesn't publish messages."""
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


async def test_the_gateway_publishes_where_the_chat_service_does_not(publishing: Stack, silent_chat: Chat) -> None:
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


async def test_a_crash_between_storing_and_publishing_is_healed_by_the_client_s_retry(
    publishing: Stack, silent_chat: Chat
) -> None:
    speaker, listener = new_user(), new_user()
    group = await silent_chat.group(speaker, listener)
    doomed, other = publishing.start_gateway(CHATWS_SENDS_PER_SECOND="0"), publishing.start_gateway()
    one, two = await enter(doomed, speaker), await enter(other, listener)
    data = {"group_id": group, "msg_type": 1, "content": "survives"}
    again = {"message_id": "c-2", "timestamp": int(time.time())}
    with redis_py.Redis.from_url(publishing.redis.url) as client:
        before = client.xlen("chat.message.new")
        client.client_pause(int(2_000 * LIMIT), all=False)  # Redis answers nobody who writes
        try:
            await one.send("send_message", data, **again)
            await silent_chat.until_said(group, "survives")
            doomed.kill()
        finally:
            client.client_unpause()
        assert client.xlen("chat.message.new") == before
    assert [f["type"] for f in await two.settled() if f["type"] == "new_message"] == []
    retry = await enter(other, speaker)
    assert (await retry.ask("send_message", data, **again))["type"] == "ack"
    assert (await two.expect("new_message"))["data"]["content"] == "survives"
    assert await silent_chat.history(group) == ["survives"]
    for socket in (two, retry):
        await socket.close()

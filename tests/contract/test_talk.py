"""Check read states, typing, presence and the history (docs/protocol.md, WebSocket)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import ext_pb2 as ext
from tests.conftest import Connect
from tests.support.chat import Chat, new_user
from tests.support.client import Client, Frame, make_token
from tests.support.plain_rpc import PlainService
from tests.support.stack import SERVERS, Gateway, Stack
from tests.support.waiting import until_answer

NEVER_EXPIRES = """
import runpy
from chatws.messaging import typing
typing.EXPIRES_SECONDS = 1e6
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""
"""A server at which typing does not expire by itself."""


@pytest.fixture(scope="module")
def other_gateway(stack: Stack) -> Gateway:
    """Start a second gateway of the shared stack."""
    return stack.start_gateway()


@pytest.fixture(scope="module")
def patient(stack: Stack) -> Gateway:
    """Start a gateway at which typing does not expire."""
    _, module, *options = SERVERS[stack.server]
    return stack.start_gateway(server=("-c", NEVER_EXPIRES.format(module=module), *options))


@pytest.fixture
async def plain(stack: Stack) -> AsyncIterator[tuple[Gateway, PlainService]]:
    """Start a gateway whose chat service lacks the extension."""
    service = PlainService(stack.rpc_target)
    gateway = await asyncio.to_thread(stack.start_gateway, CHATWS_RPC_TARGET=await service.start())
    yield gateway, service
    gateway.kill()
    await service.stop()


async def said(chat: Chat, group: str, sender: int, count: int) -> list[str]:
    ids = [f"{group}-{number}" for number in range(count)]
    for message_id in ids:
        await chat.say(group, sender, f"text {message_id}", message_id)
    return ids


async def unheard(client: Client, kind: str) -> list[Frame]:
    """Return the unread frames of a type so far."""
    return [frame for frame in await client.settled() if frame["type"] == kind]


@pytest.mark.reference_only
@pytest.mark.database
async def test_read_cursor_is_stored_and_sent_to_the_group(log_in: Connect, chat: Chat, other_gateway: Gateway) -> None:
    reader, other = new_user(), new_user()
    group = await chat.group(other, reader)
    first, second = await said(chat, group, other, 2)
    clients = [await log_in(reader), await log_in(reader, other_gateway.ws), await log_in(other, other_gateway.ws)]
    ack = await clients[0].ask("mark_read", {"group_id": group, "message_id": second})
    assert (ack["type"], ack["data"]) == ("ack", {"message_id": second, "success": True})
    for client in clients:
        told = await client.expect("message_read")
        assert told["data"] == {"group_id": group, "user_id": reader, "message_id": second}
        assert "offset" not in told
    request = ext.GetGroupCursorsReq(group_id=group, user_ids=[reader, other])
    [cursor] = (await chat.ext.GetGroupCursors(request)).cursors
    assert (cursor.user_id, cursor.message_id) == (reader, second)

    ack = await clients[0].ask("mark_read", {"group_id": group, "message_id": first})  # read already
    assert (ack["type"], ack["data"]["message_id"]) == ("ack", first)
    for client in clients:
        assert (await client.expect("message_read"))["data"]["message_id"] == second, "what is stored"
        assert await unheard(client, "message_read") == []


@pytest.mark.reference_only
@pytest.mark.database
async def test_unknown_message_cannot_be_marked_read(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = await log_in(user)
    answer = await client.ask("mark_read", {"group_id": group, "message_id": "nosuchmessage"})
    assert (answer["type"], answer["data"]["code"]) == ("error", 404)
    assert await unheard(client, "message_read") == []


@pytest.mark.reference_only
@pytest.mark.database
async def test_chat_service_without_cursors_disables_only_cursors(
    log_in: Connect, chat: Chat, plain: tuple[Gateway, PlainService]
) -> None:
    gateway, service = plain
    reader, other = new_user(), new_user()
    group = await chat.group(other, reader)
    ids = await said(chat, group, other, 3)
    client, witness = await log_in(reader, gateway.ws), await log_in(other, gateway.ws)
    for message_id in ids:
        ack = await client.ask("mark_read", {"group_id": group, "message_id": message_id})
        assert (ack["type"], ack["data"]["message_id"]) == ("ack", message_id)
        assert (await witness.expect("message_read"))["data"]["message_id"] == message_id
    assert (await chat.ext.GetGroupCursors(ext.GetGroupCursorsReq(group_id=group, user_ids=[reader]))).cursors == []
    assert service.asked.count("MarkRead") == 1  # not a round trip for each
    history = await client.ask("history", {"group_id": group})
    assert [message["message_id"] for message in history["data"]["messages"]] == ids[::-1]


async def test_typing_is_sent_to_others_and_not_stored(log_in: Connect, chat: Chat, other_gateway: Gateway) -> None:
    typist, other = new_user(), new_user()
    group = await chat.group(other, typist)
    client, device = await log_in(typist), await log_in(typist, other_gateway.ws)
    witnesses = [await log_in(other), await log_in(other, other_gateway.ws)]
    for typing in (True, False):
        message_id = await client.send("typing", {"group_id": group, "typing": typing})
        for witness in witnesses:
            told = await witness.expect("typing")
            assert told["data"] == {"group_id": group, "user_id": typist, "typing": typing}
        assert [frame for frame in await client.settled() if frame["message_id"] == message_id] == []
    assert await unheard(client, "typing") == await unheard(device, "typing") == []
    late = await log_in(other)
    assert await unheard(late, "typing") == []


async def test_closing_ends_typing(log_in: Connect, chat: Chat, patient: Gateway) -> None:
    typist, other = new_user(), new_user()
    group = await chat.group(other, typist)
    client, witness = await log_in(typist, patient.ws), await log_in(other)
    await client.send("typing", {"group_id": group, "typing": True})
    assert (await witness.expect("typing"))["data"]["typing"] is True
    await client.close()
    assert (await witness.expect("typing"))["data"]["typing"] is False


async def test_removed_user_stops_typing_and_cannot_announce_it(log_in: Connect, chat: Chat, patient: Gateway) -> None:
    typist, other = new_user(), new_user()
    group = await chat.group(other, typist)
    client, witness = await log_in(typist, patient.ws), await log_in(other)
    await client.send("typing", {"group_id": group, "typing": True})
    assert (await witness.expect("typing"))["data"]["typing"] is True
    await chat.remove(group, typist, other)
    assert (await witness.expect("typing"))["data"]["typing"] is False
    refused = await client.ask("typing", {"group_id": group, "typing": True})
    assert (refused["type"], refused["data"]["code"]) == ("error", 403)


async def test_typing_over_the_rate_is_429(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = await log_in(user)
    for number in range(150):  # 10 changes at once are published, then 2 per second
        await client.send("typing", {"group_id": group, "typing": number % 2 == 0})
    refused = await client.expect("error")
    assert (refused["data"]["code"], refused["data"]["retry_after"]) == (429, 1)
    assert client.socket.close_code is None


def connections(frame: Frame) -> dict[int, int]:
    return {user["user_id"]: user["connections"] for user in frame["data"]["users"]}


async def until_present(client: Client, group: str, expected: dict[int, int]) -> Frame:
    """Return the group's presence once it is as expected."""

    async def ask() -> Frame:
        answer = await client.ask("presence", {"group_id": group})
        assert answer["type"] == "presence", answer
        return answer

    return await until_answer(ask, lambda answer: connections(answer) == expected, f"present are {expected}")


async def test_presence_counts_devices_over_gateways(log_in: Connect, chat: Chat, stack: Stack) -> None:
    asker, other, away = new_user(), new_user(), new_user()
    group = await chat.group(asker, other, away)
    client = await log_in(asker)
    mortal = await asyncio.to_thread(stack.start_gateway, CHATWS_PRESENCE_LEASE="4")
    here, there = await log_in(other), await log_in(other, mortal.ws)
    shown = await until_present(client, group, {asker: 1, other: 2, away: 0})
    assert [user["user_id"] for user in shown["data"]["users"]][-1] == away  # online users come first
    last_seen = {user["user_id"]: user["last_seen"] for user in shown["data"]["users"]}
    assert last_seen[away] == 0
    assert last_seen[other] > 1_700_000_000
    await here.close()
    await until_present(client, group, {asker: 1, other: 1, away: 0})
    mortal.kill()  # the lease expires; the gateway does not report the last device's end
    await until_present(client, group, {asker: 1, other: 0, away: 0})
    assert there.socket is not None


@pytest.mark.reference_only
async def test_presence_of_a_large_group_is_paged(log_in: Connect, chat: Chat) -> None:
    asker = new_user()
    group = (await chat.stub.CreateGroup(pb.CreateGroupReq(name="large", owner_id=asker, max_members=600))).group_id
    adding = [chat.add(group, new_user()) for _ in range(520)]
    for start in range(0, len(adding), 20):
        await asyncio.gather(*adding[start : start + 20])
    client = await log_in(asker)
    answer = (await client.ask("presence", {"group_id": group}))["data"]
    users = answer["users"]
    assert len({user["user_id"] for user in users}) == len(users) == 500
    assert users[0]["user_id"] == asker
    assert (answer["total"], answer["truncated"]) == (521, True)


@pytest.mark.reference_only
@pytest.mark.database
async def test_history_is_read_back_in_pages(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    ids = await said(chat, group, user, 25)
    client = await log_in(user)
    first = (await client.ask("history", {"group_id": group}))["data"]
    assert (first["group_id"], first["has_more"], len(first["messages"])) == (group, True, 20)
    newest = first["messages"][0]
    assert newest.keys() == {
        "message_id", "group_id", "sender_id", "sender_name", "sender_avatar", "msg_type", "content", "image_url",
        "created_at", "sender", "status",
    }  # fmt: skip
    assert (newest["sender"], newest["status"], newest["content"]) == (str(user), 1, f"text {ids[-1]}")
    before = first["messages"][-1]["message_id"]
    rest = (await client.ask("history", {"group_id": group, "before_id": before, "limit": 100}))["data"]
    assert [message["message_id"] for message in first["messages"] + rest["messages"]] == ids[::-1]
    assert rest["has_more"] is False


@pytest.mark.reference_only
@pytest.mark.database
async def test_recalled_message_has_no_content(log_in: Connect, chat: Chat, stack: Stack) -> None:
    user = new_user()
    group = await chat.group(user)
    [message_id] = await said(chat, group, user, 1)
    stack.recall(message_id)
    client = await log_in(user)
    [message] = (await client.ask("history", {"group_id": group}))["data"]["messages"]
    assert (message["status"], message["content"], message["image_url"]) == (2, "", "")


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        ("typing", {"group_id": "g"}, "typing"),
        ("typing", {"group_id": "g", "typing": 1}, "data.typing"),
        ("history", {"group_id": "g", "limit": 0}, "data.limit"),
        ("history", {"group_id": "g", "limit": 101}, "data.limit"),
        ("presence", {}, "group_id"),
        ("mark_read", {"group_id": "g", "message_id": ""}, "data.message_id"),
    ],
)
async def test_bad_field_is_400_and_named(log_in: Connect, kind: str, data: dict[str, Any], field: str) -> None:
    client = await log_in(new_user())
    answer = await client.ask(kind, data)
    assert (answer["type"], answer["data"]["code"]) == ("error", 400)
    assert field in answer["data"]["message"]


async def test_presence_without_redis_is_503(tmp_path: Path, sockets: Connect) -> None:
    stack = Stack(tmp_path)
    try:
        gateway = await asyncio.to_thread(stack.start)
        chat, user = Chat(stack.rpc_target), new_user()
        group = await chat.group(user)
        client = await sockets(gateway.ws)
        await client.ask("auth", {"token": make_token(user)})
        stack.redis.kill()
        answer = await client.ask("presence", {"group_id": group})
        assert (answer["data"]["code"], answer["data"]["retry_after"]) == (503, 2)
        await client.send("typing", {"group_id": group, "typing": True})
        assert (await client.ask("ping"))["type"] == "pong"
        await chat.close()
    finally:
        stack.stop()

"""Check the Python client's requests: history, presence, read cursors, typing, and what an error means."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest
import websockets

from chatws.client import ChatClient, Received, Refused
from tests.support.chat import Chat, new_user
from tests.support.python_client import Enter, User
from tests.support.waiting import until_answer


async def test_rejection_is_an_exception_and_keeps_the_connection(enter: Enter, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = (await enter(user)).client
    with pytest.raises(Refused, match="403"):
        await client.send_message("not-mine", "x")
    with pytest.raises(Refused, match=r"400 .*content"):
        await client.send_message(group, " ")
    assert await client.send_message(group, "x")


async def test_unserializable_content_is_rejected_and_connection_stays(enter: Enter, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = (await enter(user)).client
    with pytest.raises(TypeError):
        await client.request("ping", {"not": object()})
    with pytest.raises(UnicodeEncodeError):
        await client.send_message(group, "half a character: \ud83d")
    assert await client.send_message(group, "a whole one: 🙂")
    assert await chat.history(group) == ["a whole one: 🙂"]


@pytest.mark.reference_only
async def test_typing_reading_presence_and_history_work(enter: Enter, chat: Chat) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    speaker, listener = await enter(owner), await enter(member)
    await listener.client.ready()
    ids = [await speaker.client.send_message(group, str(number)) for number in range(3)]

    def told(kind: str) -> list[Any]:
        return [event.frame["data"] for event in listener.of(Received) if event.frame["type"] == kind]

    speaker.client.typing(group)
    assert (await listener.until(lambda: told("typing")))[0] == {"group_id": group, "user_id": owner, "typing": True}
    await speaker.client.mark_read(group, ids[1])
    read = (await listener.until(lambda: told("message_read")))[0]
    assert read == {"group_id": group, "user_id": owner, "message_id": ids[1]}

    async def connections() -> dict[int, int]:
        users = (await speaker.client.presence(group))["users"]
        return {entry["user_id"]: entry["connections"] for entry in users}

    await until_answer(connections, lambda seen: seen == {owner: 1, member: 1}, "both are present")
    page = await speaker.client.history(group, before=ids[2], limit=1)
    assert [message["content"] for message in page["messages"]] == ["1"]
    assert page["has_more"]


async def test_rate_limited_typing_raises_no_error(enter: Enter, chat: Chat) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    typist, listener = await enter(owner), await enter(member)
    await listener.client.ready()
    await typist.client.ready()

    def refusals() -> list[int]:
        return [frame["data"]["code"] for frame in typist.raw if frame["type"] == "error"]

    typing = False
    while not refusals():  # 10 changes at once are published, then 2 per second
        typing = not typing
        typist.client.typing(group, typing)
        await typist.client.request("ping", {})
    assert set(refusals()) == {429}
    assert [event for event in typist.of(Received) if event.frame["type"] == "error"] == []


@pytest.mark.parametrize(("code", "types_on"), [(429, True), (403, True), (400, False), (501, False)])
async def test_typing_error_delays_no_connection(code: int, types_on: bool) -> None:
    welcome = {"type": "auth_success", "message_id": "auth", "data": {}}
    error = {"type": "error", "message_id": "typing", "data": {"code": code, "message": "no", "retry_after": 1000}}
    typed: list[int] = []

    async def serve(socket: Any) -> None:
        await socket.send(json.dumps(welcome))
        typed.append(0)
        async for text in socket:
            frame = json.loads(text)
            if frame["type"] == "typing":
                typed[-1] += 1
                await socket.send(json.dumps(error))
            elif frame["type"] == "ping":
                await socket.send(json.dumps({**frame, "type": "pong"}))
                if len(typed) == 1:
                    await socket.close(4501)

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        user = User(ChatClient(f"ws://127.0.0.1:{port}", "t", first_wait=0.01))
        async with user.client:
            listening = asyncio.create_task(user.listen())
            for connected in (1, 2):
                await user.until(partial(user.has_connected, connected))
                user.client.typing("g")
                await user.client.request("ping", {})
        await listening
    assert typed == [1, int(types_on)]
    assert [event for event in user.of(Received) if event.frame["type"] == "error"] == []


@pytest.mark.ours_only  # plain daphne's limit is 1 MiB
async def test_frame_over_the_limit_fails_no_other(enter: Enter, chat: Chat) -> None:
    owner = new_user()
    group = await chat.group(owner)
    client = (await enter(owner)).client
    await client.ready()
    big = asyncio.create_task(client.request("ping", {"padding": "x" * 70_000}))
    with pytest.raises(Refused, match="413"):
        await big
    assert await client.send_message(group, "small")

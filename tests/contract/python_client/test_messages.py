"""Check the Python client on a real gateway: each message arrives once and in order, whatever the network does."""

import asyncio
import json
from typing import Any

import pytest
import websockets

from chatws.client import ChatClient, Closed, Lost, Received
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.proxy import Proxy
from tests.support.python_client import Enter, User
from tests.support.stack import Gateway, Stack


async def test_messages_are_sent_and_received(enter: Enter, chat: Chat) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    speaker, listener = await enter(owner), await enter(member)
    await listener.client.ready()
    ids = [await speaker.client.send_message(group, str(number)) for number in range(5)]
    await listener.until(lambda: listener.texts() == ["0", "1", "2", "3", "4"])
    frames = [event.frame["message_id"] for event in listener.of(Received) if event.frame["type"] == "new_message"]
    assert frames == ids


@pytest.mark.parametrize("fault", ["reset", "drop_silently", "stall"])
async def test_network_cut_costs_no_message_and_no_order(
    enter: Enter, chat: Chat, proxy: Proxy, gateway: Gateway, fault: str
) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    listener = await enter(member, heartbeat_seconds=1.0)
    await listener.client.ready()
    async with ChatClient(gateway.ws, make_token(owner)) as speaker:
        await speaker.send_message(group, "before")
        await listener.until(lambda: listener.texts() == ["before"])
        getattr(proxy, fault)()
        for number in range(5):
            await speaker.send_message(group, str(number))
        proxy.restore()
        await listener.until(lambda: len(listener.texts()) == 6)
        await speaker.send_message(group, "after")
    await listener.until(lambda: len(listener.texts()) == 7)
    assert listener.texts() == ["before", "0", "1", "2", "3", "4", "after"]
    assert listener.of(Lost) == []


async def test_message_with_a_lost_ack_is_stored_once(enter: Enter, chat: Chat, proxy: Proxy) -> None:
    owner = new_user()
    group = await chat.group(owner)
    speaker = await enter(owner, heartbeat_seconds=1.0)
    await speaker.client.ready()
    proxy.swallow_answers()
    sending = asyncio.create_task(speaker.client.send_message(group, "once"))
    await chat.until_said(group, "once")
    proxy.restore()
    await sending
    assert await chat.history(group) == ["once"]
    await speaker.until(lambda: speaker.texts() == ["once"])


async def test_rejoined_group_delivers_missed_messages(enter: Enter, chat: Chat) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    speaker, listener = await enter(owner), await enter(member)
    await listener.client.ready()
    await listener.client.leave(group)
    await speaker.client.send_message(group, "meanwhile")
    await listener.client.join(group)
    await listener.until(lambda: listener.texts() == ["meanwhile"])


async def test_leave_and_join_over_a_reconnect_repeat_nothing(enter: Enter, chat: Chat, proxy: Proxy) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    listener = await enter(member)
    await listener.client.ready()
    await chat.say(group, owner, "before", f"{group}-1")
    await listener.until(lambda: listener.texts() == ["before"])
    proxy.swallow_answers()
    both = asyncio.gather(listener.client.leave(group), listener.client.join(group))
    for number in (2, 3):
        await chat.say(group, owner, "missed", f"{group}-{number}")
    proxy.restore()
    proxy.reset()
    await both
    await chat.say(group, owner, "after", f"{group}-4")
    await listener.until(lambda: listener.texts() == ["before", "missed", "missed", "after"])
    assert (listener.client.repeats, listener.of(Lost)) == (0, [])


async def test_positions_of_an_earlier_client_are_resumed(enter: Enter, chat: Chat, gateway: Gateway) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    listener = await enter(member)
    await listener.client.ready()
    await listener.client.close()
    async with ChatClient(gateway.ws, make_token(owner)) as speaker:
        await speaker.send_message(group, "meanwhile")
    again = await enter(member, positions=listener.client.positions.all())
    await again.until(lambda: again.texts() == ["meanwhile"])


async def test_next_client_sends_unanswered_messages_once(enter: Enter, chat: Chat, proxy: Proxy) -> None:
    owner = new_user()
    group = await chat.group(owner)
    first = await enter(owner)
    await first.client.ready()
    proxy.swallow_answers()
    sending = asyncio.create_task(first.client.send_message(group, "once"))
    await chat.until_said(group, "once")
    await first.client.close()
    with pytest.raises(Closed) as caught:
        await sending
    proxy.restore()
    second = await enter(owner)
    assert caught.value.frame is not None
    assert (await second.client.resend(caught.value.frame))["success"] is True
    assert await chat.history(group) == ["once"]


async def test_lost_log_is_reported(enter: Enter, chat: Chat, stack: Stack) -> None:
    owner = new_user()
    group = await chat.group(owner)
    user = await enter(owner)
    await user.client.send_message(group, "before")
    await user.until(lambda: user.texts() == ["before"])
    stack.lose_log(f"group:{group}")
    lost = await user.until(lambda: user.of(Lost))
    assert lost[0].feed == f"group:{group}"
    await user.until(lambda: any(frame["type"] == "group_joined" for frame in user.raw))
    await user.client.send_message(group, "after")
    await user.until(lambda: user.texts() == ["before", "after"])


async def test_gap_from_the_server_is_never_delivered(enter: Enter) -> None:
    """Serve a gap, against the protocol: the client reconnects and resumes at its offset."""
    resumes: list[Any] = []

    async def serve(socket: Any) -> None:
        auth = json.loads(await socket.recv())
        resumes.append(auth["data"]["resume"])
        place = {"feed": "group:g", "epoch": "e", "offset": 1}
        if len(resumes) > 1:
            place["recovered"] = True
        await socket.send(json.dumps({"type": "auth_success", "message_id": "", "data": {"feeds": [place]}}))
        for offset in (2, 2, 4) if len(resumes) == 1 else (3, 4):
            frame = {"type": "new_message", "message_id": f"m-{offset}", "data": {"content": str(offset)}}
            await socket.send(json.dumps({**frame, "feed": "group:g", "epoch": "e", "offset": offset}))
        await socket.wait_closed()

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        user = User(ChatClient(f"ws://127.0.0.1:{port}", "t", first_wait=0.01))
        async with user.client:
            listening = asyncio.create_task(user.listen())
            await user.until(lambda: user.texts() == ["2", "3", "4"])
        await listening
    assert resumes == [{}, {"group:g": {"epoch": "e", "offset": 2}}]
    assert user.client.repeats == 1

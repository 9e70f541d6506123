"""The Python client against a real gateway, through a proxy that breaks its connections."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import websockets

from chatws.client import ChatClient, Closed, Connected, Disconnected, Lost, Received, Refused
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.proxy import Proxy
from tests.support.stack import Gateway, Stack


class User:
    """A client and what it told."""

    def __init__(self, client: ChatClient) -> None:
        self.client = client
        self.events: list[Any] = []
        self.raw: list[dict[str, Any]] = []
        self.closed: int | None = None
        self._news = asyncio.Event()

    async def listen(self) -> None:
        try:
            async for event in self.client:
                self.events.append(event)
                self._news.set()
        except Closed as error:
            self.closed = error.code
            self._news.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(15):
            while not (found := condition()):
                self._news.clear()
                await self._news.wait()
        return found

    def texts(self) -> list[str]:
        received = [event.frame for event in self.events if isinstance(event, Received)]
        return [frame["data"]["content"] for frame in received if frame["type"] == "new_message"]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def proxy(gateway: Gateway) -> AsyncIterator[Proxy]:
    async with Proxy(gateway.port) as proxy:
        yield proxy


@pytest.fixture
async def enter(proxy: Proxy) -> AsyncIterator[Callable[..., Any]]:
    entered: list[tuple[ChatClient, asyncio.Task[None]]] = []

    async def enter(user_id: int, **options: Any) -> User:
        options = {"token": make_token(user_id), "first_wait": 0.05, "heartbeat_seconds": 0.5, **options}
        raw: list[dict[str, Any]] = []
        client = ChatClient(f"ws://127.0.0.1:{proxy.port}/ws", observer=raw.append, **options)
        user = User(client)
        user.raw = raw
        await client.__aenter__()
        entered.append((client, asyncio.create_task(user.listen())))
        return user

    yield enter
    for client, task in entered:
        await client.close()
        await task


Enter = Callable[..., Any]


async def test_messages_come_and_go(enter: Enter, chat: Chat) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    speaker, listener = await enter(owner), await enter(member)
    await listener.client.ready()
    ids = [await speaker.client.send_message(group, str(number)) for number in range(5)]
    await listener.until(lambda: listener.texts() == ["0", "1", "2", "3", "4"])
    frames = [event.frame["message_id"] for event in listener.of(Received) if event.frame["type"] == "new_message"]
    assert frames == ids


@pytest.mark.parametrize("fault", ["reset", "drop_silently", "stall"])
async def test_after_its_network_was_cut_it_has_everything_once_and_in_order(
    enter: Enter, chat: Chat, proxy: Proxy, gateway: Gateway, fault: str
) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    listener = await enter(member)
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


async def test_a_message_whose_ack_was_lost_is_sent_again_unchanged_and_stored_once(
    enter: Enter, chat: Chat, proxy: Proxy
) -> None:
    owner = new_user()
    group = await chat.group(owner)
    speaker = await enter(owner)
    await speaker.client.ready()
    proxy.swallow_answers()
    sending = asyncio.create_task(speaker.client.send_message(group, "once"))
    async with asyncio.timeout(10):
        while await chat.history(group) != ["once"]:
            await asyncio.sleep(0.02)
    proxy.restore()
    await sending
    assert await chat.history(group) == ["once"]
    await speaker.until(lambda: speaker.texts() == ["once"])


async def test_a_refusal_is_an_exception_and_the_connection_goes_on(enter: Enter, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = (await enter(user)).client
    with pytest.raises(Refused, match="403"):
        await client.send_message("not-mine", "x")
    with pytest.raises(Refused, match=r"400 .*content"):
        await client.send_message(group, " ")
    assert await client.send_message(group, "x")


async def test_a_group_that_was_left_comes_back_with_what_was_missed(enter: Enter, chat: Chat) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    speaker, listener = await enter(owner), await enter(member)
    await listener.client.ready()
    await listener.client.leave_group(group)
    await speaker.client.send_message(group, "meanwhile")
    await listener.client.join_group(group)
    await listener.until(lambda: listener.texts() == ["meanwhile"])


async def test_a_token_that_is_refused_ends_it_and_one_that_can_be_fetched_is_fetched_again(
    enter: Enter, chat: Chat
) -> None:
    user = await enter(new_user(), token="bad")
    await user.until(lambda: user.closed)
    assert user.closed == 4401
    with pytest.raises(Closed):
        await user.client.ready()
    fetched = iter(["bad", "bad"])
    someone = new_user()

    async def fetch() -> str:
        return next(fetched, make_token(someone))

    user = await enter(someone, token=fetch)
    await user.client.ready()
    assert [event.code for event in user.of(Disconnected)] == [4401, 4401]
    assert len(user.of(Connected)) == 1


async def test_a_lost_log_is_told(enter: Enter, chat: Chat, stack: Stack) -> None:
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


@pytest.mark.parametrize(
    ("code", "comes_back"), [(1000, False), (1001, True), (4403, False), (4501, True), (4529, True)]
)
async def test_close_codes_are_obeyed(enter: Enter, code: int, comes_back: bool) -> None:
    connections = 0

    async def serve(socket: Any) -> None:
        nonlocal connections
        connections += 1
        await socket.close(code)

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        user = User(ChatClient(f"ws://127.0.0.1:{port}", "t", first_wait=0.01))
        async with user.client:
            listening = asyncio.create_task(user.listen())
            if comes_back:
                await user.until(lambda: len(user.of(Disconnected)) == 3)
            else:
                await listening
                assert (connections, user.closed) == (1, None if code == 1000 else code)


async def test_a_gap_in_what_the_server_sends_is_never_passed_on(enter: Enter) -> None:
    """A server that breaks its word: the client comes back from where it stands."""
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

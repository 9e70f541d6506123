"""Check the Python client on a real gateway, through a proxy that breaks its connections."""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import websockets

from chatws.client import ChatClient, Closed, Connected, Disconnected, Lost, Received, Refused
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.proxy import Proxy
from tests.support.stack import Gateway, Stack
from tests.support.waiting import until_answer, until_news
from tests.support.wire import CheckedProxy


class User:
    """A client and the events it reported."""

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
        return await until_news(self._news, condition, f"the client told {self.events}")

    def texts(self) -> list[str]:
        received = [event.frame for event in self.events if isinstance(event, Received)]
        return [frame["data"]["content"] for frame in received if frame["type"] == "new_message"]

    def has_connected(self, times: int) -> bool:
        return len(self.of(Connected)) == times

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def proxy(gateway: Gateway) -> AsyncIterator[Proxy]:
    async with CheckedProxy(gateway.port) as proxy:
        yield proxy


@pytest.fixture
async def enter(proxy: Proxy) -> AsyncIterator[Callable[..., Any]]:
    entered: list[tuple[ChatClient, asyncio.Task[None]]] = []

    async def enter(user_id: int, **options: Any) -> User:
        options = {"token": make_token(user_id), "first_wait": 0.05, **options}
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


async def test_rejoined_group_delivers_missed_messages(enter: Enter, chat: Chat) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    speaker, listener = await enter(owner), await enter(member)
    await listener.client.ready()
    await listener.client.leave(group)
    await speaker.client.send_message(group, "meanwhile")
    await listener.client.join(group)
    await listener.until(lambda: listener.texts() == ["meanwhile"])


async def test_rejected_token_is_renewed_once_before_the_end(enter: Enter, chat: Chat) -> None:
    user = await enter(new_user(), token="bad")
    await user.until(lambda: user.closed)
    assert user.closed == 4401
    with pytest.raises(Closed):
        await user.client.ready()
    someone = new_user()
    asked: list[bool] = []

    async def fetch(*, fresh: bool) -> str:
        asked.append(fresh)
        return make_token(someone) if fresh else "bad"

    user = await enter(someone, token=fetch)
    await user.client.ready()
    assert [event.code for event in user.of(Disconnected)] == [4401]
    assert asked == [False, True]

    async def always_bad(*, fresh: bool) -> str:
        return "bad"

    user = await enter(someone, token=always_bad)
    await user.until(lambda: user.closed)
    assert user.closed == 4401
    with pytest.raises(Closed, match="4401: "):
        await user.client.send_message("g", "x")


async def test_token_after_a_revocation_has_a_later_second(enter: Enter, stack: Stack) -> None:
    user_id = new_user()

    async def bring(*, fresh: bool) -> str:
        return make_token(user_id)

    user = await enter(user_id, token=bring)
    await user.client.ready()
    await asyncio.to_thread(stack.manage, "revoke", "--user", str(user_id))
    await user.until(lambda: len(user.of(Connected)) == 2)
    assert [(gone.code, gone.reason) for gone in user.of(Disconnected)] == [(4401, "revoked")]


async def test_raising_token_function_is_reported_and_retried(enter: Enter, chat: Chat) -> None:
    someone = new_user()
    failures = iter([OSError("the identity provider is away"), KeyError("access")])

    async def fetch(*, fresh: bool) -> str:
        if (error := next(failures, None)) is not None:
            raise error
        return make_token(someone)

    user = await enter(someone, token=fetch)
    await user.client.ready()
    assert [event.message for event in user.of(Disconnected)] == [
        "no token: OSError: the identity provider is away",
        "no token: KeyError: 'access'",
    ]


async def test_token_function_without_a_login_ends_the_client(enter: Enter) -> None:
    async def nobody(*, fresh: bool) -> None:
        return None

    user = await enter(new_user(), token=nobody)
    with pytest.raises(Closed, match="there is no token") as caught:
        await user.client.ready()
    assert (caught.value.code, caught.value.reason) == (4401, "missing")


async def test_token_is_renewed_before_it_expires(enter: Enter, chat: Chat) -> None:
    someone = new_user()
    group = await chat.group(someone)
    asked: list[bool] = []

    async def fetch(*, fresh: bool) -> str:
        asked.append(fresh)
        if asked == [False, True]:
            raise OSError("not just now")
        return make_token(someone, 600 if fresh else 16)  # renewed at half, with more than 3 s left

    user = await enter(someone, token=fetch)
    renewed = await user.until(lambda: [frame for frame in user.raw if frame["type"] == "auth_success"][1:])
    assert asked == [False, True, True]
    assert renewed[0]["data"]["expires_at"] > renewed[0]["timestamp"] + 500
    assert await user.client.send_message(group, "still here")
    assert user.of(Disconnected) == []


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


async def test_positions_of_an_earlier_client_are_resumed(enter: Enter, chat: Chat, gateway: Gateway) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    listener = await enter(member)
    await listener.client.ready()
    await listener.client.close()
    async with ChatClient(gateway.ws, make_token(owner)) as speaker:
        await speaker.send_message(group, "meanwhile")
    again = await enter(member, places=listener.client.places.all())
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


@asynccontextmanager
async def asking_to_wait(code: int) -> AsyncIterator[tuple[int, list[float]]]:
    """Run a server that asks every client to wait for 0.4 s; yield its port and the times of the connections."""
    times: list[float] = []

    async def serve(socket: Any) -> None:
        times.append(time.monotonic())
        await socket.send(json.dumps({"type": "shutdown", "message_id": "", "data": {"retry_after": 0.4}}))
        await socket.close(code)

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], times


async def test_hurry_waits_only_as_the_server_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def longest(low: float, high: float) -> float:
        drawn.append(high)
        return high

    monkeypatch.setattr(random, "uniform", longest)
    async with asking_to_wait(4529) as (port, times):
        url = f"ws://127.0.0.1:{port}"
        user = User(ChatClient(url, "t", first_wait=1.0, longest_wait=1_000.0))
        async with user.client:
            listening = asyncio.create_task(user.listen())
            await user.until(lambda: user.of(Disconnected))
            for _ in range(3):
                user.client.hurry()
            await user.until(lambda: user.of(Disconnected)[1:])
        await listening
    assert times[1] - times[0] >= 0.4
    assert drawn[:2] == [256.0, 1.0]


async def test_hurry_detects_a_silent_connection(enter: Enter, proxy: Proxy) -> None:
    user = await enter(new_user(), heartbeat_seconds=1_000.0)  # only `hurry` can detect the loss
    await user.client.ready()
    user.client.hurry()
    await user.client.request("ping", {})
    proxy.drop_silently()
    user.client.hurry()
    gone = await user.until(lambda: user.of(Disconnected))
    assert (gone[0].code, gone[0].message) == (1006, f"{user.client.url}: the server does not answer")
    proxy.restore()
    await user.until(lambda: user.has_connected(2))


async def test_client_waits_for_retry_after() -> None:
    async with asking_to_wait(4501) as (port, times):
        user = User(ChatClient(f"ws://127.0.0.1:{port}", "t", first_wait=0.01))
        async with user.client:
            listening = asyncio.create_task(user.listen())
            await user.until(lambda: len(user.of(Disconnected)) == 3)
        await listening
    assert all(later - earlier >= 0.4 for earlier, later in pairwise(times))


async def test_invalid_frame_names_the_address_and_reconnects() -> None:
    async def serve(socket: Any) -> None:
        await socket.send("[]")
        await socket.wait_closed()

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        user = User(ChatClient(url, "t", first_wait=0.01))
        async with user.client:
            listening = asyncio.create_task(user.listen())
            await user.until(lambda: len(user.of(Disconnected)) == 2)
        await listening
    assert user.of(Disconnected)[0].message == f"{url}: received data that is not a frame; is it a chatws gateway?"


async def test_internal_failure_closes_the_client_with_its_reason(enter: Enter) -> None:
    def broken(frame: Any) -> None:
        raise ZeroDivisionError("an observer's mistake")

    user = await enter(new_user())
    client = ChatClient(user.client.url, make_token(new_user()), observer=broken)
    async with client:
        with pytest.raises(Closed, match="an observer's mistake"):
            await client.ready()
        with pytest.raises(Closed, match="has ended"):
            await client.send_message("g", "x")


@pytest.mark.parametrize("url", ["chat.example/ws", "ftp://chat.example/ws", "ws://", "ws:///ws"])
def test_invalid_address_is_rejected_by_name(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(url))):
        ChatClient(url, "t")


@pytest.mark.parametrize(
    ("code", "comes_back"),
    [(1000, False), (1001, True), (4403, False), (4409, False), (4501, True), (4502, True), (4508, True), (4529, True)],
)
async def test_close_code_decides_whether_client_reconnects(enter: Enter, code: int, comes_back: bool) -> None:
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

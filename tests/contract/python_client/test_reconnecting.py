"""Check when the Python client reconnects, how long it waits, and when it ends."""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import websockets

from chatws.client import ChatClient, Closed, Disconnected
from tests.support.chat import new_user
from tests.support.client import make_token
from tests.support.proxy import Proxy
from tests.support.python_client import Enter, User


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


async def test_internal_failure_closes_the_client_with_its_reason(
    enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("a mistake of the client's")

    user = await enter(new_user())
    client = ChatClient(user.client.url, make_token(new_user()))
    monkeypatch.setattr(client.positions, "report", broken)
    async with client:
        with pytest.raises(Closed, match="a mistake of the client's"):
            await client.ready()
        with pytest.raises(Closed, match="has ended"):
            await client.send_message("g", "x")


@pytest.mark.parametrize(
    "url", ["chat.example/ws", "ftp://chat.example/ws", "ws://", "ws:///ws", "ws://h:99999/ws", "ws://h:x/ws"]
)
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

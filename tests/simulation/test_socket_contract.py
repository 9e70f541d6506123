"""The simulated WebSocket server and client behave as our server and the library `websockets` do."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import websockets
from websockets.exceptions import ConnectionClosed

from tests.simulation import client_sockets, contract_application
from tests.simulation.client_sockets import ClientProcess, Connect
from tests.simulation.forking import in_child
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.seams import installed
from tests.simulation.socket_servers import SocketServer
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.ours_only

Open = Callable[[], Awaitable[Any]]
"""Opens a socket, with what `chatws.client` uses of the library's."""


async def ended(socket: Any) -> list[Any]:
    """Return the frames up to the end, and the close code."""
    frames = []
    with suppress(ConnectionClosed):
        while True:
            frames.append(await socket.recv())
    return [*frames, socket.close_code]


async def code_of(open_socket: Open, name: str) -> int:
    """Return the code that the application was told for a connection."""
    socket = await open_socket()
    async with asyncio.timeout(LIMIT):
        while True:
            await socket.send("codes")
            codes: dict[str, int] = json.loads(await socket.recv())
            if name in codes:
                await socket.close()
                return codes[name]
            await asyncio.sleep(0.05)


async def named(open_socket: Open, name: str) -> Any:
    socket = await open_socket()
    await socket.send(f"name {name}")
    return socket


async def echo(open_socket: Open) -> list[Any]:
    socket = await named(open_socket, "echo")
    for text in ("hello", "", "é" * 1_000):
        await socket.send(text.encode(), text=True)
    found = [await socket.recv() for _ in range(3)]
    await socket.close(4000)
    with pytest.raises(ConnectionClosed):
        await socket.send("late")
    return [*found, socket.close_code, await code_of(open_socket, "echo")]


async def server_closes(open_socket: Open) -> list[Any]:
    socket = await named(open_socket, "server closes")
    for text in ("one", "close 4501", "two"):
        await socket.send(text)
    return [*await ended(socket), await code_of(open_socket, "server closes")]


async def aborted(open_socket: Open) -> list[Any]:
    socket = await named(open_socket, "aborted")
    await socket.send("one")
    found = await socket.recv()
    socket.transport.abort()
    return [found, *await ended(socket), await code_of(open_socket, "aborted")]


async def too_big(open_socket: Open) -> list[Any]:
    socket = await named(open_socket, "too big")
    await socket.send("one")
    found = await socket.recv()
    for text in ("x" * 70_000, "two"):
        with suppress(ConnectionClosed):
            await socket.send(text)
    return [found, *await ended(socket), await code_of(open_socket, "too big")]


async def slow_reader(open_socket: Open) -> list[Any]:
    socket = await named(open_socket, "slow reader")
    await socket.send("burst 2000")
    await socket.send("close 4000")
    await asyncio.sleep(0.5)
    found = await ended(socket)
    return [[text.split()[0] for text in found[:-1]], found[-1], await code_of(open_socket, "slow reader")]


async def application_fails(open_socket: Open) -> list[Any]:
    socket = await named(open_socket, "fails")
    await socket.send("fail")
    return await ended(socket)


SCENARIOS = [echo, server_closes, aborted, too_big, slow_reader, application_fails]


@pytest.fixture(scope="module")
def real(stack: Stack) -> Gateway:
    """Start our server with the application."""
    return stack.start_gateway(server=("-m", "tests.simulation.contract_application", "--bind"))


@pytest.fixture
async def real_socket(real: Gateway) -> AsyncIterator[Open]:
    opened = []

    async def open_socket() -> Any:
        socket = await websockets.connect(real.ws, ping_interval=None, close_timeout=1, max_size=None, compression=None)
        opened.append(socket)
        return socket

    yield open_socket
    for socket in opened:
        await socket.close()


def simulated(scenario: Callable[[Open], Awaitable[list[Any]]], *, frames: bool) -> list[Any]:
    """Run a scenario on the simulated server."""
    scheduler = Scheduler(1)
    network = Network(scheduler)
    gateway = Process(scheduler, network, "gateway")
    network.listen("gateway", 443, SocketServer(gateway, contract_application.application, frames=frames).accept)
    client = ClientProcess(scheduler, network, "client")

    async def open_socket() -> Any:
        return await Connect("wss://gateway/ws", open_timeout=15, close_timeout=1)

    async def work() -> list[Any]:
        return await scenario(open_socket)

    with installed(scheduler), client_sockets.installed():
        task = client.start(work(), "the scenario")
        scheduler.run(600)
        result: list[Any] = task.result()
        return result


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_simulated_sockets_behave_as_real_ones(
    real_socket: Open, scenario: Callable[[Open], Awaitable[list[Any]]]
) -> None:
    async with asyncio.timeout(LIMIT):
        expected = await scenario(real_socket)
    for frames in (True, False):
        assert in_child(lambda frames=frames: simulated(scenario, frames=frames)) == expected  # type: ignore[misc]

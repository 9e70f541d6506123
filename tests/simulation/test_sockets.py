"""Simulated WebSockets: back-pressure, idle and sleeping clients, killed and paused servers, a balancer."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.simulation.client_sockets import ClientSocket, Connect
from tests.simulation.echo_server import running
from tests.simulation.forking import forked
from tests.simulation.process import Process
from tests.simulation.socket_servers import Balancer, SocketServer

both = pytest.mark.parametrize("frames", [True, False], ids=["frames", "asgi"])


async def until_closed(socket: ClientSocket) -> int | None:
    """Read to the end; return the close code."""
    with suppress(ConnectionClosed):
        while True:
            await socket.recv()
    return socket.close_code


@both
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
@forked
def test_frames_of_every_size_are_echoed(frames: bool, size: int) -> None:
    with running(frames=frames, largest=200_000) as here:

        async def work() -> list[str]:
            socket = await here.connect()
            for text in ("é" * (size // 2), "x" * size, "next"):
                await asyncio.sleep(1)
                await socket.send(text.encode(), text=True)
            return [await socket.recv() for _ in range(3)]

        assert here.run(work()) == ["é" * (size // 2), "x" * size, "next"]
        assert here.scopes[0]["path"] == "/ws"


@both
@forked
def test_client_closes_with_a_code(frames: bool) -> None:
    with running(frames=frames) as here:

        async def work() -> int | None:
            socket = await here.connect()
            await socket.close(4000)
            return socket.close_code

        assert here.run(work()) == 4000
        assert here.ended == [4000]
        assert not here.server.sockets
        assert not here.network.links


@both
@forked
def test_server_closes_behind_what_it_sent(frames: bool) -> None:
    with running(frames=frames) as here:

        async def work() -> list[Any]:
            socket = await here.connect()
            await socket.send("last")
            await socket.send("close 4501")
            return [await socket.recv(), await until_closed(socket)]

        assert here.run(work()) == ["last", 4501]
        assert here.ended == [4501]
        assert not here.network.links


@both
@forked
def test_client_that_reads_nothing_holds_the_server_back(frames: bool) -> None:
    with running(frames=frames, buffer=10_000) as here:

        async def work() -> list[str]:
            socket = await here.connect()
            await socket.send("burst 100")
            await asyncio.sleep(5)
            assert 16 <= socket.received_frames <= 30
            assert here.answers <= 30
            return [(await socket.recv()).strip("-") for _ in range(100)]

        assert here.run(work()) == [str(number) for number in range(100)]
        if frames:
            calls = here.flows[0].calls
            assert calls[0] == "pause"
            assert calls[-1] == "resume"
            assert here.flows[0].parts > 3


@forked
def test_slow_network_delays_frames() -> None:
    with running() as here:
        here.client.bytes_per_second = 1_000

        async def work() -> float:
            socket = await here.connect()
            await socket.send("burst 10")
            for _ in range(10):
                await socket.recv()
            return asyncio.get_running_loop().time()

        assert 10 < here.run(work()) < 12


@both
@forked
def test_silent_client_is_closed_as_idle(frames: bool) -> None:
    with running(frames=frames, ping_interval=10, ping_timeout=5) as here:

        async def work() -> int | None:
            socket = await here.connect()
            await asyncio.sleep(60)
            assert here.ended == []  # it answers pings
            socket.link.cut_silently()
            await asyncio.sleep(20)
            assert here.ended == [4508]
            socket.transport.abort()
            return socket.close_code

        assert here.run(work(), 100) == 1006
        assert not here.server.sockets


@both
@forked
def test_sleeping_client_learns_its_close_code_later(frames: bool) -> None:
    with running(frames=frames, ping_interval=10, ping_timeout=5) as here:
        opened: list[ClientSocket] = []

        async def work() -> int | None:
            opened.append(await here.connect())
            return await until_closed(opened[0])

        task = here.client.start(work(), "work")
        here.scheduler.run(2)
        here.client.pause()
        here.scheduler.run(100)
        assert here.ended == [4508]
        assert not here.network.links
        here.client.go_on()
        here.scheduler.run(110)
        assert task.result() == 4508


@both
@forked
def test_reset_ends_both_sides_with_1006(frames: bool) -> None:
    with running(frames=frames) as here:

        async def work() -> int | None:
            socket = await here.connect()
            socket.link.reset()
            return await until_closed(socket)

        assert here.run(work()) == 1006
        assert here.ended == [1006]


@forked
def test_killed_server_resets_its_clients() -> None:
    with running() as here:

        async def work() -> int | None:
            socket = await here.connect()
            here.gateway.kill()
            return await until_closed(socket)

        assert here.run(work()) == 1006
        assert here.ended == []


@forked
def test_paused_server_answers_when_it_goes_on() -> None:
    with running() as here:

        async def work() -> list[Any]:
            socket = await here.connect()
            here.gateway.pause()
            await socket.send("hello")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await socket.recv()
            here.gateway.go_on()
            return [await socket.recv(), here.ended]

        assert here.run(work()) == ["hello", []]


@both
@forked
def test_server_stops_reading_while_frames_wait(frames: bool) -> None:
    with running(frames=frames, waiting_frames=8) as here:
        here.reads.clear()

        async def work() -> list[str]:
            socket = await here.connect()
            for number in range(100):
                await socket.send(f"{number}")
            await asyncio.sleep(5)
            [served] = here.server.sockets
            assert served.inbox.qsize() == 8
            here.gateway.loop.call_soon(here.reads.set)
            return [await socket.recv() for _ in range(100)]

        assert here.run(work()) == [str(number) for number in range(100)]


@forked
def test_balancer_uses_every_server_and_refuses_without_one() -> None:
    with running() as here:
        balancer = Balancer(here.network, "chat")
        second = Process(here.scheduler, here.network, "gateway-2")
        servers = [here.server, SocketServer(second, here.application)]

        async def connect() -> ClientSocket:
            return await Connect("wss://chat/ws", open_timeout=15, close_timeout=1)

        async def work() -> list[int]:
            with pytest.raises(ConnectionRefusedError):
                await connect()
            for server in servers:
                balancer.add(server)
            for _ in range(20):
                await connect()
            balancer.remove(servers[0])
            for _ in range(20):
                await connect()
            balancer.remove(servers[1])
            with pytest.raises(ConnectionRefusedError):
                await connect()
            return [len(server.sockets) for server in servers]

        first, last = here.run(work())
        assert 4 < first < 16
        assert last == 40 - first


@forked
def test_handshake_that_nobody_answers_times_out() -> None:
    with running() as here:
        here.gateway.pause()

        async def work() -> float:
            with pytest.raises(TimeoutError):
                await here.connect()
            return asyncio.get_running_loop().time()

        assert 15 <= here.run(work()) < 15.1
        assert here.ended == []

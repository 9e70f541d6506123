"""A process of a world: its loop, its links and its clocks. It can be paused, killed, and given a wrong clock."""

import asyncio
import random
from asyncio import events
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from tests.simulation.loop import Loop
from tests.simulation.network import Link, Network
from tests.simulation.scheduler import START, Scheduler


class Process:
    """A process with a loop of its own. ``wall_offset``: how far its wall clock is ahead, in seconds."""

    def __init__(
        self, scheduler: Scheduler, network: Network, name: str, *, shuffled: bool = False, turn_seconds: float = 0.0
    ) -> None:
        self.name = name
        self.scheduler = scheduler
        self.network = network
        self.is_alive = True
        self.is_paused = False
        self.wall_offset = 0.0
        self.random: random.Random = scheduler.draws(f"random of {name}")
        self.loop = Loop(scheduler, self, shuffled=shuffled, turn_seconds=turn_seconds)
        self.layers: dict[str, Any] = {}
        self.at_end: list[Callable[[], None]] = []
        """Called when the process is killed: what it listened to ends with it."""

    @property
    def runs(self) -> bool:
        return self.is_alive and not self.is_paused

    def wall(self) -> float:
        """Return what this process takes for the time, in Unix seconds."""
        return START + self.scheduler.now + self.wall_offset

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Run the block as code of this process."""
        before, self.scheduler.running = self.scheduler.running, self.loop
        events._set_running_loop(self.loop)
        try:
            yield
        finally:
            events._set_running_loop(before)
            self.scheduler.running = before

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """Start a task in this process."""
        with self.inside():
            return self.loop.create_task(work, name=name)

    def pause(self) -> None:
        """Stop the process where it is, as SIGSTOP does. Its links stay, and what arrives waits."""
        self.is_paused = True

    def go_on(self) -> None:
        """Let a paused process go on."""
        self.is_paused = False
        self.loop.wake()

    def kill(self) -> None:
        """End the process at once, as SIGKILL does: its links are reset, and its tasks never run again."""
        self.is_alive = False
        self.scheduler.graveyard.append((self, asyncio.all_tasks(self.loop)))
        for link in self.network.of(self.name):
            link.back.end = None  # nothing reaches it any more
            link.reset()
        for end in self.at_end:
            end()

    async def connect(
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple["Transport", asyncio.Protocol]:
        """Connect to an address, for asyncio's `open_connection`."""
        protocol = protocol_factory()
        transport = Transport(self, protocol)
        await self.network.connect(self.name, host, port, transport.connected)
        protocol.connection_made(transport)
        return transport, protocol


class Socket:
    """What the code asks of a socket. ``is_closed``: whether the other side has ended the connection."""

    def __init__(self) -> None:
        self.is_closed = False

    def fileno(self) -> int:
        return 0

    def setsockopt(self, *_: Any) -> None:
        return


class Transport(asyncio.Transport):
    """A process's end of a link, as asyncio's streams use it."""

    def __init__(self, process: Process, protocol: asyncio.Protocol) -> None:
        super().__init__({"socket": Socket(), "peername": ("simulated", 0), "sockname": (process.name, 0)})
        self._process = process
        self._protocol: Any = protocol
        self._link: Link
        self._is_closing = False
        self._is_reading = True
        self._unread: list[bytes] = []

    def connected(self, link: Link) -> "Transport":
        self._link = link
        return self

    # The network's side

    def received(self, data: bytes) -> None:
        if self._process.is_alive:
            self._process.loop.call_soon(self._receive, data)

    def lost(self, error: Exception | None) -> None:
        if self._process.is_alive:
            self.get_extra_info("socket").is_closed = True
            self._process.loop.call_soon(self._lose, error)

    def _receive(self, data: bytes) -> None:
        if self._is_closing:
            return
        if self._is_reading:
            self._protocol.data_received(data)
        else:
            self._unread.append(data)

    def _lose(self, error: Exception | None) -> None:
        if self._is_closing:
            return
        if error is None:
            self._protocol.eof_received()
        self._close()
        self._protocol.connection_lost(error)

    # The protocol's side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closing and data:
            self._link.out.send(bytes(data), len(data))

    def close(self) -> None:
        if not self._is_closing:
            self._close()
            self._link.close_from(self._link.out)
            self._process.loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        if not self._is_closing:
            self._close()
            self._link.reset()
            self._process.loop.call_soon(self._protocol.connection_lost, None)

    def _close(self) -> None:
        self._is_closing = True
        self.get_extra_info("socket").is_closed = True

    def is_closing(self) -> bool:
        return self._is_closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_reading(self) -> bool:
        return self._is_reading

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        unread, self._unread = self._unread, []
        for data in unread:
            self._process.loop.call_soon(self._receive, data)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def can_write_eof(self) -> bool:
        return False

"""A gRPC channel over the simulated network, in the place of `chatws.chat_service.channel.Channel`.

It behaves as the real one: calls go to the connected instances in turn, are retried as its service config says, end at
their deadline, and fail at once while no instance is reachable.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import grpc

from chatws.chat_service import grpc as adapter
from tests.simulation.chat_service.instance import HEADERS, Answer, Call
from tests.simulation.network import Link
from tests.simulation.process import Process

ATTEMPTS = 4
RETRYABLE = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED
FIRST_RETRY, RETRY_FACTOR, LONGEST_RETRY = 0.05, 3.0, 1.0
FIRST_RECONNECT, RECONNECT_FACTOR, LONGEST_RECONNECT = 0.1, 1.6, 2.0
UNANSWERED_SECONDS = 10.0
"""After how long a connection is given up whose packets are not acknowledged (TCP_USER_TIMEOUT)."""
STATE_SECONDS = 0.5
NOT_CONNECTED = "failed to connect to all addresses"


@contextmanager
def installed() -> Iterator[None]:
    """Have `GrpcChatGateway` make channels of this module."""
    with patch.object(adapter, "Channel", Channel):
        yield


class Channel:
    """A channel to the instances at ``address`` (``host:port``, separated by commas).

    Without ``process`` it is of the process whose loop runs at the first call.
    """

    def __init__(
        self, setting: str, address: str, *services: str, tls_ca: str = "", process: Process | None = None
    ) -> None:
        self.address = address
        self.instances: tuple[str, ...] = ()
        self._subchannels: list[Subchannel] = []
        self._changed: asyncio.Event
        self._turn = 0
        self._process = process
        self._draws: random.Random

    async def open(self, seconds: float) -> "Channel":
        """Return this channel; the first call connects it."""
        if not self._subchannels:
            process: Process = self._process or asyncio.get_running_loop().process  # type: ignore[attr-defined]
            self._changed = asyncio.Event()
            self._draws = process.scheduler.draws(f"retries of {process.name}")
            for address in self.address.split(","):
                host, _, port = address.strip().rpartition(":")
                self._subchannels.append(Subchannel(process, host, int(port), self._draws, self._wake))
            for subchannel in self._subchannels:
                subchannel.connect()
        return self

    async def state(self) -> str:
        """Return ``ok``, or that no instance is connected; wait up to `STATE_SECONDS` for one."""
        await self.open(STATE_SECONDS)
        try:
            async with asyncio.timeout(STATE_SECONDS):
                if await self._pick() is not None:
                    return "ok"
        except TimeoutError:
            return f"connecting ({self.address})"
        return f"transient_failure ({self.address})"

    async def close(self) -> None:
        """Close the connections."""
        for subchannel in self._subchannels:
            subchannel.close()

    def unary_unary(
        self, path: str, request_serializer: Callable[[Any], bytes], response_deserializer: Callable[[bytes], Any],
        **options: Any,
    ) -> Callable[..., Any]:  # fmt: skip
        """Return a method of a stub."""

        async def call(request: Any, *, timeout: float | None = None, metadata: Any = None) -> Any:
            try:
                async with asyncio.timeout(timeout):
                    answer = await self._call(path, request_serializer(request))
            except TimeoutError:
                raise error_of(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
            if answer.status is not grpc.StatusCode.OK:
                raise error_of(answer.status, answer.details)
            return response_deserializer(answer.message)

        return call

    async def _call(self, path: str, message: bytes) -> Answer:
        pause = FIRST_RETRY
        for attempt in range(1, ATTEMPTS + 1):
            subchannel = await self._pick()
            if subchannel is None:
                answer = Answer(0, grpc.StatusCode.UNAVAILABLE, b"", NOT_CONNECTED)
            else:
                answer = await subchannel.ask(path, message)
            if answer.status not in RETRYABLE or attempt == ATTEMPTS:
                break
            await asyncio.sleep(self._draws.uniform(0, pause))
            pause = min(pause * RETRY_FACTOR, LONGEST_RETRY)
        return answer

    async def _pick(self) -> "Subchannel | None":
        """Return the next connected instance; wait while one may become it. None: all have failed."""
        while True:
            ready = [one for one in self._subchannels if one.link is not None]
            if ready:
                self._turn += 1
                return ready[self._turn % len(ready)]
            if all(one.has_failed for one in self._subchannels):
                return None
            self._changed.clear()
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()


class Subchannel:
    """The connection to one instance. It connects again by itself. ``has_failed``: until it is connected again."""

    def __init__(
        self, process: Process, host: str, port: int, draws: random.Random, changed: Callable[[], None]
    ) -> None:
        self.link: Link | None = None
        self.has_failed = False
        self._process = process
        self._address = host, port
        self._draws = draws
        self._changed = changed
        self._wait = FIRST_RECONNECT
        self._numbers = 0
        self._calls: dict[int, asyncio.Future[Answer]] = {}
        self._connecting: asyncio.Task[Any] | None = None
        self._is_closed = False

    def connect(self) -> None:
        """Begin to connect."""
        self._connecting = self._process.start(self._connect(), f"connecting to {self._address[0]}")

    async def ask(self, path: str, message: bytes) -> Answer:
        """Send a call and return its answer; UNAVAILABLE if the connection ends before."""
        assert self.link is not None
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        try:
            self.link.out.send(Call(number, path, message), len(message) + HEADERS)
            if self.link.out.is_silent:
                self._process.scheduler.after(UNANSWERED_SECONDS, self._give_up, self.link)
            return await answer
        finally:
            del self._calls[number]

    def close(self) -> None:
        """Close the connection."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self.link is not None:
            self.link.close_from(self.link.out)
            self.link = None

    # The network's side

    def answered(self, answer: Answer) -> None:
        """Take an answer."""
        waiting = self._calls.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def lost(self, link: Link) -> None:
        """Connect again: this link has ended."""
        if self.link is not link or not self._process.is_alive:
            return
        self.link = None
        for number, waiting in self._calls.items():
            if not waiting.done():
                waiting.set_result(Answer(number, grpc.StatusCode.UNAVAILABLE, b"", "Socket closed"))
        if not self._is_closed:
            self.connect()

    def _give_up(self, link: Link) -> None:
        if self.link is link:
            link.reset()
            self.lost(link)

    async def _connect(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LONGEST_RECONNECT):
                    link = await self._process.network.connect(self._process.name, *self._address, partial(_End, self))
                break
            except (OSError, TimeoutError):
                self.has_failed = True
                self._changed()
                await asyncio.sleep(self._wait * self._draws.uniform(0.8, 1.2))
                self._wait = min(self._wait * RECONNECT_FACTOR, LONGEST_RECONNECT)
        self.link, self.has_failed, self._wait = link, False, FIRST_RECONNECT
        self._changed()


class _End:
    """A subchannel's end of one link."""

    def __init__(self, subchannel: Subchannel, link: Link) -> None:
        self._subchannel = subchannel
        self._link = link

    def received(self, answer: Answer) -> None:
        self._subchannel.answered(answer)

    def lost(self, error: Exception | None) -> None:
        self._subchannel.lost(self._link)


def error_of(status: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    """Return the error of a call that failed."""
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), details)

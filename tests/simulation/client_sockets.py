"""The client's side of a simulated WebSocket, in the place of the library `websockets` (`chatws.client.connection`)."""

import asyncio
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosedError

from chatws.client import connection
from tests.simulation.network import Link, Network
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.sockets import CONTROL, Item, Request, Socket

MAX_QUEUE, LOW_QUEUE = 16, 4
"""At how many unread frames the library stops reading, and goes on."""
ABNORMAL = 1006


class ClientProcess(Process):
    """The process of a client. ``bytes_per_second``: how fast its network is; 0: it sets no limit."""

    def __init__(self, scheduler: Scheduler, network: Network, name: str, *, shuffled: bool = False) -> None:
        super().__init__(scheduler, network, name, shuffled=shuffled)
        self.bytes_per_second = 0.0
        self.is_offline = False
        """Whether nothing that it sends to connect arrives."""
        self.request = Request()
        self.socket: ClientSocket | None = None
        """Its last socket."""


@contextmanager
def installed() -> Iterator[None]:
    """Have `chatws.client` open sockets of this module."""
    with patch.object(connection, "_Connect", Connect):
        yield


class Connect:
    """Opens a socket when it is awaited. The process has to be a `ClientProcess`."""

    def __init__(self, url: str, *, open_timeout: float, close_timeout: float, **options: Any) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 443
        self._open_timeout = open_timeout
        self._close_timeout = close_timeout

    def __await__(self) -> "Generator[Any, None, ClientSocket]":
        return self._open().__await__()

    async def _open(self) -> "ClientSocket":
        process: ClientProcess = asyncio.get_running_loop().process  # type: ignore[attr-defined]
        socket = ClientSocket(process, self._close_timeout)
        try:
            async with asyncio.timeout(self._open_timeout):
                if process.is_offline:
                    await asyncio.get_running_loop().create_future()
                await process.network.connect(process.name, *self._address, socket.connected)
                await socket.opened(process.request)
        except BaseException:  # also a cancellation
            socket.transport.abort()
            raise
        return socket


class ClientSocket:
    """A WebSocket, with what the client uses of `websockets.asyncio.client.ClientConnection`."""

    link: Link

    def __init__(self, process: ClientProcess, close_timeout: float) -> None:
        self.close_code: int | None = None
        """None until the connection has ended."""
        self.subprotocol: str | None = None
        self.transport = self
        self.is_open = False
        self.received_frames = 0
        self._process = process
        self._loop = process.loop
        self._close_timeout = close_timeout
        self._link: Link | None = None
        self._peer: Socket | None = None
        self._frames: deque[str] = deque()
        self._part = b""
        self._owed = 0
        """Bytes that were received and are not read yet: the server may not send as many more."""
        self._waiter: asyncio.Future[None] | None = None

    def connected(self, link: Link) -> "ClientSocket":
        """Take a link, for `Network.connect`."""
        self.link = self._link = link
        link.back.bytes_per_second = self._process.bytes_per_second
        self._process.socket = self
        return self

    async def opened(self, request: Request) -> None:
        """Send the handshake, and return once it is answered."""
        peer = self.link.out.end
        self._peer = peer if isinstance(peer, Socket) else None
        self.link.out.send(("open", request), 300)
        while not self.is_open:
            if self.close_code is not None:
                raise ConnectionResetError(104, "Connection reset by peer")
            await self._wait()

    # What the client calls

    async def recv(self) -> str:
        """Return the next frame; raise ConnectionClosed behind the last one."""
        frames = self._frames
        while not frames:
            if self.close_code is not None:
                raise ConnectionClosedError(None, None)
            await self._wait()
        text = frames.popleft()
        if self._owed and len(frames) <= LOW_QUEUE:
            owed, self._owed = self._owed, 0
            if self._peer is not None:
                self._peer.taken(owed)
        return text

    async def send(self, message: str | bytes, text: bool | None = None) -> None:
        """Send a frame: of text if it is one, or with ``text``; else a binary one."""
        if self.close_code is not None:
            raise ConnectionClosedError(None, None)
        if text and isinstance(message, bytes):
            message = message.decode()
        self.link.out.send(("text" if isinstance(message, str) else "bytes", message), len(message))

    async def close(self, code: int = 1000) -> None:
        """Close, and wait for the server's close frame."""
        if self.close_code is not None:
            return
        self.link.out.send(("close", code), CONTROL)
        try:
            async with asyncio.timeout(self._close_timeout):
                while self.close_code is None:
                    await self._wait()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Break the connection."""
        if self._link is not None and self.close_code is None:
            self._link.reset()
            self._ended(ABNORMAL)

    # The network's side

    def received(self, item: Item) -> None:
        if not self._process.is_alive or self.close_code is not None:
            return
        kind, content = item
        if kind == "wire":
            self._took(len(content))
            self._wire(content)
        elif kind == "text":
            self._took(len(content))
            self._add(content)
        else:
            self._took(CONTROL)
            if kind == "accepted":
                self.subprotocol, self.is_open = content, True
                self._wake()
            elif kind == "ping":
                self._loop.call_soon(self.link.out.send, ("pong", None), CONTROL)
            elif kind == "close":
                self._loop.call_soon(self.link.out.send, ("close", content), CONTROL)
                self._ended(content)

    def lost(self, error: Exception | None) -> None:
        if self._process.is_alive and self.close_code is None:
            self._ended(ABNORMAL)

    def _wire(self, data: bytes) -> None:
        """Take bytes of unmasked text frames (RFC 6455 section 5.2)."""
        if self._part:
            data = self._part + data
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : start])
            if start + size > end or start > end:
                break
            self._add(data[start : start + size].decode())
            at = start + size
        self._part = data[at:]

    def _add(self, text: str) -> None:
        self.received_frames += 1
        self._frames.append(text)
        self._wake()

    def _took(self, size: int) -> None:
        """Let the server send as many bytes more, unless too many frames are unread."""
        if self._owed or len(self._frames) >= MAX_QUEUE:
            self._owed += size
        elif self._peer is not None:
            self._peer.taken(size)

    def _ended(self, code: int) -> None:
        self.close_code = code
        self._wake()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

"""The server's side of a simulated WebSocket: it runs an ASGI application over a link, as `realtime.server` does.

What crosses a link is a kind and its content: ``open`` a `Request`; ``accepted`` a subprotocol; ``text`` a frame;
``wire`` bytes of unmasked frames; ``close`` a code; ``ping`` and ``pong``.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from realtime.aio import tasks
from realtime.close_codes import CloseCode
from realtime.connection.extension import EXTENSION, Flow
from realtime.server.inbox import Inbox
from tests.simulation.network import Link

if TYPE_CHECKING:
    from tests.simulation.socket_servers import SocketServer

ANSWER_SECONDS, CLOSE_SECONDS, LOOK_AGAIN_SECONDS = 1.0, 5.0, 0.05
FAILED = 1011
"""The close code of a connection whose application has failed."""
CONTROL = 8
"""Bytes of a frame without text."""

Item = tuple[str, Any]


class Request(NamedTuple):
    """The handshake of a client."""

    path: str = "/ws"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    subprotocols: tuple[str, ...] = ()
    address: str = "192.0.2.1"


class State(Enum):
    """The state of a WebSocket, as RFC 6455 names it."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class Socket:
    """One connection: the end of its link, and the scope extension (`realtime.connection.extension.Frames`)."""

    def __init__(self, server: "SocketServer", link: Link) -> None:
        self.link = link
        self.flow: Flow | None = None
        self.state = State.CONNECTING
        self.inbox = Inbox()
        self._server = server
        self._process = server.process
        self._loop = server.process.loop
        self._room = server.buffer
        self._unsent: deque[tuple[Item, int]] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._is_draining = False
        self._is_failing = False
        """Whether a frame was too large: the close frame follows the answers to those before it."""
        self._is_read = True
        self._unread: deque[Item] = deque()
        """What the client sent while this server does not read."""
        self._told = False
        """Whether the application has been told of the end."""
        self._heard_at = self._loop.time()
        self._pinged_at = 0.0

    # The network's side

    def received(self, item: Item) -> None:
        if not self._process.is_alive or self.state is State.CLOSED:
            return
        if self._is_failing and self.state is State.OPEN:
            return
        if not self._is_read:
            self._unread.append(item)
            return
        kind, content = item
        if kind in ("text", "bytes") and len(content) > self._server.largest:
            self._is_failing = True
            self.inbox.when_idle(partial(self.close, CloseCode.TOO_BIG))
            self._loop.call_later(ANSWER_SECONDS, self.close, CloseCode.TOO_BIG, context=Context())
        elif kind == "text":
            self._received({"type": "websocket.receive", "text": content})
        elif kind == "bytes":
            self._received({"type": "websocket.receive", "bytes": content})
        elif kind == "pong":
            self._heard()
        elif kind == "ping":
            self._heard()
            self._loop.call_soon(self._put, ("pong", None), CONTROL, context=Context())
        elif kind == "close":
            self._loop.call_soon(self._client_closes, content, context=Context())
        elif kind == "open":
            self._loop.call_soon(self._begin, content, context=Context())

    def lost(self, error: Exception | None) -> None:
        if self._process.is_alive and self.state is not State.CLOSED:
            self._end(CloseCode.ABNORMAL)

    def taken(self, size: int) -> None:
        """Note that the client has read so many bytes."""
        self._room += size
        if self._unsent and not self._is_draining:
            self._is_draining = True
            self._loop.call_soon(self._drain, context=Context())

    def _begin(self, request: Request) -> None:
        scope: dict[str, Any] = {
            "type": "websocket", "asgi": {"version": "3.0"}, "scheme": "wss", "path": request.path,
            "raw_path": request.path.encode(), "query_string": b"", "headers": list(request.headers),
            "client": [request.address, 50_000], "server": [self._process.name, 443],
            "subprotocols": list(request.subprotocols),
        }  # fmt: skip
        if self._server.frames:
            scope["extensions"] = {EXTENSION: self}
        self.inbox.put_nowait({"type": "websocket.connect"})
        running = tasks.spawn(self._server.application(scope, self.inbox.get, self.send), "a connection")
        running.add_done_callback(self._application_ended)

    def _application_ended(self, task: "asyncio.Task[None]") -> None:
        self._told = True
        if self.state is State.CONNECTING:
            self._drop()
        if not task.cancelled() and task.exception() is not None:
            self.close(FAILED)

    def _received(self, message: dict[str, Any]) -> None:
        if self._told:
            return
        self._heard()
        self.inbox.put_nowait(message)
        server = self._server
        if self.inbox.qsize() >= server.waiting_frames or self.inbox.size >= server.waiting_bytes:
            self._is_read = False
            self._loop.call_later(LOOK_AGAIN_SECONDS, self._read_on, context=Context())

    def _read_on(self) -> None:
        self._heard()  # a client that is not read is not idle
        server = self._server
        if self.inbox.qsize() > server.waiting_frames // 2 or self.inbox.size > server.waiting_bytes // 2:
            self._loop.call_later(LOOK_AGAIN_SECONDS, self._read_on, context=Context())
            return
        self._is_read = True
        while self._unread and self._is_read:
            self.received(self._unread.popleft())

    def _heard(self) -> None:
        self._heard_at, self._pinged_at = self._loop.time(), 0.0

    # ASGI

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message of the application; wait while the client does not read.

        Raises:
            OSError: the connection has ended.
        """
        if message["type"] == "websocket.accept":
            if self.state is State.CONNECTING:
                self.state = State.OPEN
            self._put(("accepted", message.get("subprotocol")), CONTROL)
        elif message["type"] == "websocket.close":
            self.close(message.get("code", CloseCode.NORMAL))
        elif self.state is State.CLOSED:
            raise OSError("the connection has ended")
        elif self.state is State.OPEN:
            text = message["text"]
            self._put(("text", text), len(text))
            if self._unsent:
                if self._drained is None:
                    self._drained = self._loop.create_future()
                await self._drained

    # The extension

    def direct(self) -> Callable[[bytes], int] | None:
        return self._send if self.state is State.OPEN and not self._unsent else None

    def write(self, wire: bytes) -> None:
        if self.state is State.OPEN:
            self._put(("wire", wire), len(wire))

    def write_rest(self, wire: bytes) -> None:
        if self.state is State.OPEN:
            self._unsent.append((("wire", wire), len(wire)))
        self._pause()

    def backlog(self) -> int:
        return sum(size for _, size in self._unsent)

    def close(self, code: int) -> None:
        """Begin the closing handshake; drop the client if it does not answer within `CLOSE_SECONDS`."""
        if self.state is not State.OPEN:
            return
        self.state = State.CLOSING
        if self.flow is not None:
            self.flow.stop_sending()
        self._put(("close", int(code)), CONTROL)
        self._loop.call_later(CLOSE_SECONDS, self._drop, context=Context())

    def check(self, now: float) -> None:
        """Ping an idle client; close one that did not answer the ping."""
        if self.state is not State.OPEN or not self._is_read:
            return
        if not self._pinged_at:
            if now - self._heard_at > self._server.ping_interval:
                self._pinged_at = now
                self._put(("ping", None), CONTROL)
        elif now - self._pinged_at > self._server.ping_timeout:
            self._tell(CloseCode.IDLE)
            self.close(CloseCode.IDLE)

    # Writing

    def _send(self, wire: bytes) -> int:
        """Send as a socket does: return how much it took."""
        if self.state is not State.OPEN:
            raise BrokenPipeError
        size = len(wire)
        if size > self._room:
            if self._room <= 0:
                raise BlockingIOError
            size = self._room
            wire = wire[:size]
        self._room -= size
        self.link.back.send(("wire", wire), size)
        return size

    def _put(self, item: Item, size: int) -> None:
        """Send an item behind what waits, as far as there is room."""
        if self.state is State.CLOSED:
            return
        if not self._unsent and size <= self._room:
            self._room -= size
            self.link.back.send(item, size)
        else:
            self._unsent.append((item, size))
            self._pause()

    def _pause(self) -> None:
        if self.flow is not None:
            self.flow.pause_writing()
        if not self._is_draining and self._room == self._server.buffer:
            self._is_draining = True
            self._loop.call_soon(self._drain, context=Context())

    def _drain(self) -> None:
        """Send what waits, now that there is room; an item that is larger than the buffer goes alone."""
        self._is_draining = False
        while self._unsent and (self._unsent[0][1] <= self._room or self._room == self._server.buffer):
            item, size = self._unsent.popleft()
            self._room -= size
            self.link.back.send(item, size)
        if self._unsent:
            return
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        if self.flow is not None and self.state is State.OPEN:
            self.flow.resume_writing()

    # The end

    def _client_closes(self, code: int) -> None:
        """The client's close frame: an answer to ours, or its own, which is answered."""
        if self.state is State.OPEN:
            if self.flow is not None:
                self.flow.stop_sending()
            self._put(("close", code), CONTROL)
        if self.state is not State.CLOSED:
            self.link.close_from(self.link.back)
            self._end(code)

    def _drop(self) -> None:
        if self.state is not State.CLOSED:
            self.link.reset()
            self._end(CloseCode.ABNORMAL)

    def _end(self, code: int) -> None:
        self.state = State.CLOSED
        self._server.sockets.pop(self, None)
        self._unsent.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._tell(code)

    def _tell(self, code: int) -> None:
        """Tell the application of the end, once."""
        if not self._told:
            self._told = True
            self.inbox.put_nowait({"type": "websocket.disconnect", "code": int(code)})

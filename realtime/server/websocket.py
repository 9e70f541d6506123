"""daphne's WebSocket connection that takes ready frames, and pings."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from realtime.server import lean_daphne  # noqa: F401  # isort: skip  # before daphne, autobahn and Twisted

from autobahn.websocket import protocol as autobahn
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import tcp

from realtime.aio.bucket import Bucket
from realtime.close_codes import CloseCode
from realtime.connection.extension import Flow
from realtime.observability import metrics
from realtime.server.parsing import whole_text
from realtime.server.transport import backlog, reactor, write_now

LARGEST = 0xFFFF
"""The longest payload that is looked at here."""
MOST_PARTS = 256
"""Of one message. A part may be empty, so that no limit on size ends a message of many."""
PINGS_PER_SECOND, PINGS_AT_ONCE = 10, 50
PING = b"\x89\x00"
"""A ping frame without payload (RFC 6455 section 5.5.2)."""
LOOK_AGAIN_SECONDS = 0.05
READ_ONCE = (
    "http_headers", "http_request_data", "http_request_host", "http_request_params", "http_request_uri",
    "http_response_data", "http_status_line", "websocket_extensions", "websocket_origin", "websocket_protocols",
    "_raw_query_string", "_transport_details", "_wskey", "application_deferred", "clean_headers", "protocol_to_accept",
    "send_queue",
)  # fmt: skip
"""What autobahn and daphne keep of a handshake that is over: 4 KB a connection."""


class _Asked(NamedTuple):
    """What daphne's log still wants of a request."""

    path: str


_asked = lru_cache(maxsize=64)(_Asked)
_statistics: Any = autobahn.TrafficStats()  # type: ignore[no-untyped-call]
"""One for all connections: nobody reads them."""


class FramesProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    """daphne's WebSocket connection, which is also the scope extension `chatws.frames` (`connection.extension.Frames`).

    It stands between its transport and whoever writes as a Twisted producer. Over TLS, what is written goes out on the
    next turn of the loop. Where compression was negotiated our frames aren't compressed, which RFC 7692 allows.
    """

    flow: Flow | None = None
    heard_at = 0.0
    """When the client was last heard, by the monotonic clock."""
    _pinged_at = 0.0
    """When it was asked whether it is there, unless it has been heard since."""
    _is_read = True
    muted: bool = False
    _parts = 0
    _pings: Bucket | None = None

    def direct(self) -> Callable[[bytes], int] | None:
        """The socket's own `send`, while nothing waits to be sent; None over TLS."""
        transport = self.transport
        if self.state != self.STATE_OPEN or not isinstance(transport, tcp.Connection) or backlog(transport):
            return None
        send: Callable[[bytes], int] = transport.socket.send
        return send

    def write(self, wire: bytes) -> None:
        """Send whole frames. Dropped once the closing handshake has begun: nothing may follow a close frame."""
        if self.state == self.STATE_OPEN:
            self.sendData(wire)

    def write_rest(self, wire: bytes) -> None:
        """Send what is left of frames that the socket has taken a part of."""
        self.transport.write(wire)
        self.transport.producerPaused = True
        self.pauseProducing()

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:  # noqa: N802
        """All that autobahn sends, too: nothing of it may come between the parts of a frame."""
        if not isinstance(self.transport, tcp.Connection):
            self.transport.write(data)
        elif not write_now(self.transport, data):
            self.pauseProducing()

    def sendCloseFrame(self, *given: Any, **named: Any) -> None:  # noqa: N802
        if self.flow is not None:
            self.flow.stop_sending()
        super().sendCloseFrame(*given, **named)

    def backlog(self) -> int:
        """Bytes that the socket hasn't taken yet; over TLS, of those that are encrypted already."""
        below = self.transport
        while not isinstance(below, tcp.Connection):
            below = below.transport
        return backlog(below)

    def close(self, code: int) -> None:
        """Begin the closing handshake; a client that doesn't answer in time is disconnected."""
        self.sendClose(code=int(code))  # autobahn takes no IntEnum

    def onOpen(self) -> None:  # noqa: N802
        self.transport.unregisterProducer()  # that of the HTTP request
        self.transport.registerProducer(self, True)
        self.heard_at = time.monotonic()
        super().onOpen()
        for name in READ_ONCE:
            self.__dict__.pop(name, None)
        self.request: Any = _asked(self.request.path)
        self.trafficStats = _statistics

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take whole text frames from what came at once; autobahn, at ten times the cost, has all else."""
        most = min(self.maxMessagePayloadSize or LARGEST, self.maxFramePayloadSize or LARGEST)
        while data and self._is_between_messages():
            text, size = whole_text(data, most)
            if text is None:
                break
            data = data[size:]
            self._received({"type": "websocket.receive", "text": text})
        if data:
            super().dataReceived(data)

    def _is_between_messages(self) -> bool:
        """Whether autobahn waits for the first byte of a message; no where a release keeps that elsewhere."""
        known = (getattr(self, "data", None), getattr(self, "current_frame", ""), getattr(self, "inside_message", None))
        return self.state == self.STATE_OPEN and known == (b"", None, False)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        kind: dict[str, Any] = {"bytes": payload} if isBinary else {"text": payload.decode()}
        self._received({"type": "websocket.receive", **kind})

    def _received(self, message: dict[str, Any]) -> None:
        """Hand a message to the application."""
        if self.muted:
            return
        self.heard_at, self._pinged_at = time.monotonic(), 0.0
        self.application_queue.put_nowait(message)
        if self.application_queue.qsize() >= self.server.waiting_frames and self._is_read:
            self._is_read = False
            metrics.refusals.labels("waiting").inc()
            self.transport.pauseProducing()
            reactor.callLater(LOOK_AGAIN_SECONDS, self._read_on)

    def _read_on(self) -> None:
        """Read again once the application has caught up."""
        self.heard_at, self._pinged_at = time.monotonic(), 0.0  # what we don't read can't be quiet
        if self.application_queue.qsize() > self.server.waiting_frames // 2:
            reactor.callLater(LOOK_AGAIN_SECONDS, self._read_on)
        else:
            self._is_read = True
            self.transport.resumeProducing()

    def onMessageBegin(self, isBinary: bool) -> None:  # noqa: N802, N803
        self._parts = 0
        super().onMessageBegin(isBinary)

    def onMessageFrameBegin(self, length: int) -> None:  # noqa: N802
        self._parts += 1
        if self._parts > MOST_PARTS:
            self._end(CloseCode.BAD_FRAMES)
        super().onMessageFrameBegin(length)

    def onPing(self, payload: bytes) -> None:  # noqa: N802
        """Answer, unless they come by the hundred: no limit of the application sees them."""
        if self._pings is None:
            self._pings = Bucket(PINGS_PER_SECOND, PINGS_AT_ONCE)
        if self._pings.take(1, time.monotonic()):
            self._end(CloseCode.RATE_LIMITED)
        else:
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:  # noqa: N802
        """The client lives."""
        self.heard_at, self._pinged_at = time.monotonic(), 0.0

    def check_timeouts(self) -> None:
        """Ping a client that is quiet; drop one that doesn't answer. Called every two seconds.

        daphne's own keeps a timer for each ping, and sends it the slow way.
        """
        server = self.server
        if self.state != self.STATE_OPEN or server.websocket_timeout >= 0:
            super().check_timeouts()
            return
        now = time.monotonic()
        if not self._pinged_at:
            if now - self.heard_at > server.ping_interval:
                self._pinged_at = now
                self.write(PING)
        elif now - self._pinged_at > server.ping_timeout:
            self._end(CloseCode.IDLE)

    def _end(self, code: CloseCode) -> None:
        """Close, and let the application know at once."""
        if not self.muted:
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": code})
            self.muted = True
            self.close(code)

    def pauseProducing(self) -> None:  # noqa: N802
        """The socket takes no more; over TLS, the transport holds more than 64 KiB."""
        if self.flow is not None:
            self.flow.pause_writing()

    def resumeProducing(self) -> None:  # noqa: N802
        """All that waited has been sent."""
        if self.flow is not None:
            self.flow.resume_writing()

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is lost; the application hears of it by ASGI."""

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: N802
        if self.flow is not None:
            self.flow.stop_sending()
        self.transport.unregisterProducer()  # a transport with a producer isn't closed
        super()._closeConnection(abort)

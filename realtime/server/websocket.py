"""daphne's WebSocket connection, extended to send encoded frames directly and to ping idle clients."""

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
from realtime.server.transport import backlog, forget_unsent, reactor, write_now

LARGEST = 0xFFFF
"""The longest payload that is parsed here."""
MAX_PARTS = 256
"""Most parts of one message. A part may be empty, so a limit on the size does not limit their number."""
PINGS_PER_SECOND, PINGS_AT_ONCE = 10, 50
PING = b"\x89\x00"
"""A ping frame without payload (RFC 6455 section 5.5.2)."""
CLOSE_OPCODE = 8
LOOK_AGAIN_SECONDS = 0.05
ANSWER_SECONDS = 1.0
"""How long the application may take to answer what came before a malformed frame."""
READ_ONCE = (
    "http_headers", "http_request_data", "http_request_host", "http_request_params", "http_request_uri",
    "http_response_data", "http_status_line", "websocket_extensions", "websocket_origin", "websocket_protocols",
    "_raw_query_string", "_transport_details", "_wskey", "application_deferred", "clean_headers", "protocol_to_accept",
    "send_queue",
)  # fmt: skip
"""Attributes of autobahn and daphne that are not used after the handshake: 4 KB per connection."""


class _Asked(NamedTuple):
    """The part of a request that daphne's log needs."""

    path: str


_asked = lru_cache(maxsize=64)(_Asked)
_statistics: Any = autobahn.TrafficStats()  # type: ignore[no-untyped-call]
"""Shared by all connections, because nothing reads it."""


class FramesProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    """daphne's WebSocket connection, which is also the scope extension `chatws.frames` (`connection.extension.Frames`).

    It is the transport's Twisted producer, and tells its ``flow`` when to pause writing. Over TLS, frames are sent on
    the next turn of the event loop. Frames are not compressed even if compression was negotiated; RFC 7692 allows that.
    """

    data: bytes
    current_frame: Any
    flow: Flow | None = None
    heard_at = 0.0
    """When the client last sent something, by the monotonic clock."""
    _pinged_at = 0.0
    """When the last ping was sent; 0 if the client has sent something since."""
    _is_read = True
    _is_failing = False
    """Whether a frame was malformed; the close frame follows the answers to the messages before it."""
    muted: bool = False
    _parts = 0
    _pings: Bucket | None = None

    def direct(self) -> Callable[[bytes], int] | None:
        """Return the socket's own `send`; None over TLS, or while bytes wait to be sent."""
        transport = self.transport
        if self.state != self.STATE_OPEN or not isinstance(transport, tcp.Connection) or backlog(transport):
            return None
        send: Callable[[bytes], int] = transport.socket.send
        return send

    def write(self, wire: bytes) -> None:
        """Send whole frames; drop them once the closing handshake has begun: nothing may follow a close frame."""
        if self.state == self.STATE_OPEN:
            self.sendData(wire)

    def write_rest(self, wire: bytes) -> None:
        """Send the rest of frames that the socket accepted only in part."""
        self.transport.write(wire)
        self.transport.producerPaused = True
        self.pauseProducing()

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:  # noqa: N802
        """Send autobahn's bytes the same way as ours, so that none of them can come between the parts of a frame."""
        if not isinstance(self.transport, tcp.Connection):
            self.transport.write(data)
        elif not write_now(self.transport, data):
            self.pauseProducing()

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Send the application's message. daphne drops an empty text and empty bytes."""
        text, data = message.get("text"), message.get("bytes")
        is_empty = not text and not data and (text is not None or data is not None)
        if is_empty and message.get("type") == "websocket.send" and self.state != self.STATE_CONNECTING:
            self.serverSend(b"" if text is None else "", binary=text is None)
        else:
            super().handle_reply(message)

    def sendCloseFrame(self, *given: Any, **named: Any) -> None:  # noqa: N802
        if self.flow is not None:
            self.flow.stop_sending()
        super().sendCloseFrame(*given, **named)

    def backlog(self) -> int:
        """Return how many bytes the socket has not accepted yet; over TLS only the encrypted ones."""
        below = self.transport
        while not isinstance(below, tcp.Connection):
            below = below.transport
        return backlog(below)

    def close(self, code: int) -> None:
        """Begin the closing handshake; drop the client if it does not answer within `CLOSE_SECONDS`."""
        self.sendClose(code=int(code))  # autobahn takes no IntEnum

    def onOpen(self) -> None:  # noqa: N802
        self.transport.unregisterProducer()  # the HTTP request's
        self.transport.registerProducer(self, True)
        self.heard_at = time.monotonic()
        super().onOpen()
        for name in READ_ONCE:
            self.__dict__.pop(name, None)
        self.request: Any = _asked(self.request.path)
        self.trafficStats = _statistics

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Parse complete text frames here; leave everything else to autobahn, at ten times the cost."""
        if self._is_failing and self.state == self.STATE_OPEN:
            return
        max_bytes = min(self.maxMessagePayloadSize or LARGEST, self.maxFramePayloadSize or LARGEST)
        while data and self._is_between_messages():
            text, size = whole_text(data, max_bytes)
            if text is None:
                break
            data = data[size:]
            self._received({"type": "websocket.receive", "text": text})
        if self.state == self.STATE_CONNECTING and len(self.data) > LARGEST:
            self.transport.abortConnection()  # it sends frames while its handshake is served, and autobahn keeps all
        elif data:
            super().dataReceived(data)

    def _is_between_messages(self) -> bool:
        """Return whether autobahn expects the first byte of a message; False if a release stores that elsewhere."""
        known = (getattr(self, "data", None), getattr(self, "current_frame", ""), getattr(self, "inside_message", None))
        return self.state == self.STATE_OPEN and known == (b"", None, False)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        kind: dict[str, Any] = {"bytes": payload} if isBinary else {"text": payload.decode()}
        self._received({"type": "websocket.receive", **kind})

    def _received(self, message: dict[str, Any]) -> None:
        """Pass a message to the application; stop reading while too many wait."""
        if self.muted:
            return
        self.heard_at, self._pinged_at = time.monotonic(), 0.0
        self.application_queue.put_nowait(message)
        inbox, server = self.application_queue, self.server
        if self._is_read and (inbox.qsize() >= server.waiting_frames or inbox.size >= server.waiting_bytes):
            self._is_read = False
            metrics.refusals.labels("waiting").inc()
            self.transport.pauseProducing()
            reactor.callLater(LOOK_AGAIN_SECONDS, self._read_on)

    def _read_on(self) -> None:
        """Resume reading when the application has caught up."""
        self.heard_at, self._pinged_at = time.monotonic(), 0.0  # a client that is not read is not idle
        inbox, server = self.application_queue, self.server
        if inbox.qsize() > server.waiting_frames // 2 or inbox.size > server.waiting_bytes // 2:
            reactor.callLater(LOOK_AGAIN_SECONDS, self._read_on)
        else:
            self._is_read = True
            self.transport.resumeProducing()

    def onMessageBegin(self, isBinary: bool) -> None:  # noqa: N802, N803
        self._parts = 0
        super().onMessageBegin(isBinary)

    def onMessageFrameBegin(self, length: int) -> None:  # noqa: N802
        self._parts += 1
        if self._parts > MAX_PARTS:
            self._end(CloseCode.BAD_FRAMES)
        super().onMessageFrameBegin(length)

    def _protocol_violation(self, reason: str) -> bool:
        return self._fail_behind_answers(super()._protocol_violation, reason)

    def _invalid_payload(self, reason: str) -> bool:
        return self._fail_behind_answers(super()._invalid_payload, reason)

    def _fail_behind_answers(self, fail: Callable[[str], bool], reason: str) -> bool:
        """Close after a malformed frame, when the application has answered what came before. Return as ``fail``."""
        if self.state != self.STATE_OPEN or self._is_failing:
            return fail(reason)
        self._is_failing = True
        frame = self.current_frame  # None while its header is read
        is_last = (frame.opcode if frame is not None else (self.data or b"\0")[0] & 15) == CLOSE_OPCODE
        self.data, self.current_frame = b"", None  # nothing of this frame or behind it is read

        def fail_once() -> None:
            if self.state == self.STATE_OPEN:
                fail(reason)
                if is_last:  # the client has sent its close frame, so no answer to ours will come
                    self.dropConnection(abort=False)

        self.application_queue.when_idle(fail_once)
        reactor.callLater(ANSWER_SECONDS, fail_once)
        return True

    def onPing(self, payload: bytes) -> None:  # noqa: N802
        """Answer a ping; close a client that sends too many, because the application's limits do not count pings."""
        if self._pings is None:
            self._pings = Bucket(PINGS_PER_SECOND, PINGS_AT_ONCE)
        if self._pings.take(1, time.monotonic()):
            self._end(CloseCode.RATE_LIMITED)
        else:
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:  # noqa: N802
        """Note that the client is alive."""
        self.heard_at, self._pinged_at = time.monotonic(), 0.0

    def check_timeouts(self) -> None:
        """Ping an idle client, and close one that did not answer the ping. Called every two seconds.

        daphne's own method keeps a timer for each ping and sends it through autobahn, which is slower.
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
        """Close the connection, and notify the application at once."""
        if not self.muted:
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": code})
            self.muted = True
            self.close(code)

    def pauseProducing(self) -> None:  # noqa: N802
        """Pause writing: the socket is full, or over TLS the transport holds more than 64 KiB."""
        if self.flow is not None:
            self.flow.pause_writing()

    def resumeProducing(self) -> None:  # noqa: N802
        """Resume writing: all waiting bytes have been sent."""
        if self.flow is not None:
            self.flow.resume_writing()

    def stopProducing(self) -> None:  # noqa: N802
        """Do nothing: ASGI notifies the application of the lost connection."""

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        transport = self.transport
        super().connectionLost(reason)
        forget_unsent(transport)

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: N802
        if self.flow is not None:
            self.flow.stop_sending()
        self.transport.unregisterProducer()  # a transport with a producer would not be closed
        super()._closeConnection(abort)

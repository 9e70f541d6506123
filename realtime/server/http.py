"""HTTP/1.1 on one connection: daphne's request and Twisted's channel, with limits on time, size and unread answers.

Every request has to bring its headers, and then its body, within a time; an idle connection may stay for another time.
An application's `send` waits while the client does not read, and a client that does not read for long is dropped.
"""

import asyncio
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from realtime.server import lean_daphne  # noqa: F401  # isort: skip  # before daphne, autobahn and Twisted

from daphne.http_protocol import WebRequest
from twisted.internet import tcp
from twisted.web import http

from realtime.conf import RealtimeConf
from realtime.observability import metrics
from realtime.server.transport import forget_unsent

HTTPChannel: Any = http.HTTPChannel  # few of its methods have types

LINGER_SECONDS = 3.0
"""How long bytes are read and dropped behind an error answer. A close at once would make the client lose the answer."""
MOST_DROPPED = 16_777_216
"""Bytes that are dropped so, at most."""
MOST_DIGITS = 18
"""Digits of a Content-Length that are converted; more are too large in any case."""


class Request(WebRequest):  # type: ignore[misc]  # daphne has no types
    """daphne's request, whose body is counted while it arrives."""

    _received = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Keep a part of the body; refuse the request once there is too much of it."""
        self._received += len(data)
        if self._received > self.channel.max_body:
            self.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body")
        else:
            super().handleContentChunk(data)

    def requestReceived(self, *line: bytes) -> None:  # noqa: N802
        self._parsePOSTFormSubmission = False  # nothing reads Twisted's parsed form
        super().requestReceived(*line)

    def process(self) -> Any:
        """Begin to serve the request. An upgrade to WebSocket takes the connection away from the channel."""
        transport, channel = self.transport, self.channel
        running = super().process()
        if self.transport is None:
            channel.upgraded(getattr(transport, "wrappedProtocol", None) or transport.protocol)
        return running


class Channel(HTTPChannel):  # type: ignore[misc]
    """The requests of one connection, one at a time. ``max_body`` is the limit of the request that arrives."""

    requestFactory = Request  # noqa: N815
    max_body = 0
    conf: RealtimeConf
    """Set by the factory, as ``timeOut`` and ``callLater`` are by Twisted's."""
    _is_idle = False
    """Whether an answer was sent and nothing of another request has come."""
    _is_refused = False
    _dropped = 0
    """Bytes that came behind a refused request."""
    _is_lost = False
    _websocket: Any = None
    _unread: Any = None
    """The timer that drops a client which does not read."""
    _sender: asyncio.Future[None] | None = None

    # Reading

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Parse the next bytes. Unlike Twisted's, they do not prolong the time-out."""
        if self._is_refused:
            self._drop(data)
            return
        self._begin_request()
        super(HTTPChannel, self).dataReceived(data)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        """Parse the request line or a header; refuse a folded one (RFC 9112 section 5.2)."""
        if self._is_refused:
            return
        self._begin_request()
        if line[:1] in (b" ", b"\t") and self._has_request_line():
            self.refuse(HTTPStatus.BAD_REQUEST, "request")
        else:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take a part of the body, or keep bytes of the next request; a WebSocket gets what follows its upgrade."""
        if self._websocket is not None:
            self._websocket.dataReceived(data)
        elif not self._is_refused:
            super().rawDataReceived(data)
            if self._handlingRequest and self._waitingForTransport:  # here Twisted reads on, without a bound
                self._networkProducer.pauseProducing()

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        self._refuse_long_head()

    def allHeadersReceived(self) -> None:  # noqa: N802
        """Judge a request by its headers, before any of its body is read or asked for (100-continue)."""
        self.max_body = self.conf.max_body_of(unquote_to_bytes(self._path.partition(b"?")[0]).decode("latin-1"))
        status = self._problem()
        if status is not None:
            self.refuse(status, "body" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "request")
            return
        super().allHeadersReceived()
        if self.length != 0:
            self.setTimeout(self.conf.request_seconds)

    def allContentReceived(self) -> None:  # noqa: N802
        if not self._is_refused:
            super().allContentReceived()

    def checkPersistence(self, request: Any, version: bytes) -> bool:  # noqa: N802
        """Return whether the connection stays open: with HTTP/1.1, unless any `Connection` header has `close`."""
        tokens = b",".join(request.requestHeaders.getRawHeaders(b"Connection", [])).lower().split(b",")
        if version != b"HTTP/1.1" or b"close" in (token.strip() for token in tokens):
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return True

    def upgraded(self, websocket: Any) -> None:
        """Hand the connection to a WebSocket. Bytes that came with its request are passed on."""
        self._stop_unread()
        self._websocket = websocket

    def _begin_request(self) -> None:
        if self._is_idle and not self._handlingRequest:
            self._is_idle = False
            self.setTimeout(self.conf.request_seconds)

    def _has_request_line(self) -> bool:
        return hasattr(self, "_command")

    def _problem(self) -> HTTPStatus | None:
        """Return the status that refuses a request of which two readers could disagree, or which is too large."""
        headers = self.requests[-1].requestHeaders
        encodings = headers.getRawHeaders(b"Transfer-Encoding", [])
        if encodings and (self.length is not None or len(encodings) > 1 or self._version != b"HTTP/1.1"):
            return HTTPStatus.BAD_REQUEST
        if len(headers.getRawHeaders(b"Host", [])) > 1:
            return HTTPStatus.BAD_REQUEST
        if self.length is not None and self.length > self.max_body:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        protocols = headers.getRawHeaders(b"Upgrade", [])  # others are ignored: HTTP/2 clients offer `h2c`
        if self.length != 0 and b"websocket" in (protocol.lower() for protocol in protocols):
            return HTTPStatus.BAD_REQUEST
        return None

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:  # noqa: N802
        if header == b"Content-Length" and data.isdigit() and len(data) > MOST_DIGITS:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body")
            return False
        return bool(super()._maybeChooseTransferDecoder(header, data))

    # Answering

    def requestDone(self, request: Any) -> None:  # noqa: N802
        """Wait for the next request. Twisted sets the time-out that was saved."""
        self._savedTimeOut = self.conf.keep_alive_seconds
        self._is_idle = True
        super().requestDone(request)

    async def drained(self) -> None:
        """Return once the client has read what was written, except for the last 64 KiB, or is gone."""
        while self._waitingForTransport and not self._is_lost:
            self._sender = asyncio.get_running_loop().create_future()
            await self._sender

    def pauseProducing(self) -> None:  # noqa: N802
        """Stop writing: the client does not read as fast."""
        super().pauseProducing()
        self._expect_reading()

    def resumeProducing(self) -> None:  # noqa: N802
        """Go on writing: all bytes were sent."""
        self._stop_unread()
        super().resumeProducing()
        self._wake()

    # Ending

    def refuse(self, status: HTTPStatus, limit: str) -> None:
        """Answer the request that arrives with an error, and close; ``limit`` is the label of the metric."""
        if self._is_refused:
            return
        self._is_refused = True
        metrics.refusals.labels(limit).inc()
        self.setTimeout(None)
        self._stop_unread()
        text = f"{status.phrase}\n".encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
            % (status, status.phrase.encode(), len(text), b"" if self._is_head() else text)
        )
        self._networkProducer.unregisterProducer()
        self._unread = self.callLater(LINGER_SECONDS, self.transport.abortConnection)
        transport: Any = self.transport
        if isinstance(self.transport, tcp.Connection):
            transport.resumeProducing()
            transport.loseWriteConnection()
        else:  # TLS has no half-closed connections
            transport.loseConnection()

    def timeoutConnection(self) -> None:  # noqa: N802
        """Close an idle connection; refuse a request that did not come in time."""
        if self._is_idle:
            self.loseConnection()
        else:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "request")

    def loseConnection(self) -> None:  # noqa: N802
        """Close the connection when its last bytes are sent, or when the client does not read them in time."""
        self._expect_reading()
        super().loseConnection()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self._is_lost = True
        self._stop_unread()
        transport = self.transport
        super().connectionLost(reason)
        forget_unsent(transport)
        self._wake()

    def _is_head(self) -> bool:
        return self._has_request_line() and self._command == b"HEAD"

    def _drop(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > MOST_DROPPED:
            self.transport.abortConnection()

    def _expect_reading(self) -> None:
        if self._unread is None and not self._is_lost:
            self._unread = self.callLater(self.conf.write_seconds, self._drop_unread)

    def _stop_unread(self) -> None:
        if self._unread is not None and self._unread.active():
            self._unread.cancel()
        self._unread = None

    def _drop_unread(self) -> None:
        metrics.refusals.labels("unread").inc()
        self.transport.abortConnection()

    def _wake(self) -> None:
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    def _refuse_long_head(self) -> None:
        too_long = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self.refuse(too_long if self._has_request_line() else HTTPStatus.REQUEST_URI_TOO_LONG, "header")

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._refuse_long_head()
        else:
            self.refuse(HTTPStatus.BAD_REQUEST, "request")

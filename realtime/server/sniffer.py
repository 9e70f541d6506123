"""Choose a connection's protocol by its first bytes: WebSocket for a plain upgrade request, else daphne's HTTP.

This saves time: daphne parses each request as HTTP, serializes it again and lets autobahn parse it a second time.
"""

import logging
import re
from collections.abc import Callable
from typing import Any

from realtime.server import lean_daphne  # noqa: F401  # isort: skip  # before daphne, autobahn and Twisted

from twisted.internet import tcp  # isort: skip
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Protocol

from realtime.observability import metrics
from realtime.server.proxy_protocol import Malformed, read_header

logger = logging.getLogger(__name__)

MAX_BYTES = 16_384
"""Largest request that is recognised here."""
REQUEST = re.compile(
    rb"GET /[!\"$->@-~]*(?:\?([!\"$-~]*))? HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+\r\n"
)
"""A complete request without a body, in printable ASCII (RFC 9112 sections 3 and 5); its group is the query."""
UPGRADE = re.compile(rb"\r\nupgrade:[\t ]*websocket[\t ]*\r\n", re.IGNORECASE)
TELLING = re.compile(rb"\r\n(upgrade|content-length|transfer-encoding|expect):", re.IGNORECASE)


def websocket_query(data: bytes) -> bytes | None:
    """Return the query of a plain WebSocket request, possibly empty; None for anything else."""
    if len(data) > MAX_BYTES or not UPGRADE.search(data) or len(TELLING.findall(data)) != 1:
        return None
    found = REQUEST.fullmatch(data)
    return found and (found[1] or b"")


class Sniffer(Protocol):
    """The protocol of a new connection; it is replaced when the first bytes arrive."""

    transport: Any

    def __init__(self, websocket: Callable[[], Any], http: Callable[[], Any], opened: Callable[[Any], None]) -> None:
        self._websocket = websocket
        self._http = http
        self._opened = opened

    def connectionMade(self) -> None:  # noqa: N802
        self._opened(self.transport)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        transport = self.transport
        query = websocket_query(data)
        if query is None:
            protocol = self._http()
        else:
            protocol = self._websocket()
            protocol._raw_query_string = query  # as daphne's request would set it
        setattr(transport, _attribute(transport), protocol)
        protocol.makeConnection(transport)
        protocol.dataReceived(data)


class ProxiedSniffer(Sniffer):
    """The protocol of a balancer's connection, which has to begin with a PROXY header.

    Without one it is dropped: a client could send a header itself through a balancer that adds none.
    """

    _data = b""
    _has_header = False

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if not self._has_header:
            self._data += data
            try:
                header = read_header(self._data)
            except Malformed as error:
                metrics.refusals.labels("proxy").inc()
                peer: Any = self.transport.getPeer()
                host = getattr(peer, "host", peer)
                logger.warning("a connection from %s was refused: PROXY protocol: %s", host, error)
                self.transport.abortConnection()
                return
            if header is None:
                return
            self._has_header = True
            if header.address:
                family: Any = IPv6Address if ":" in header.address else IPv4Address
                client = family("TCP", header.address, header.port)
                self.transport.getPeer = lambda: client
            data = self._data[header.size :]
        if data:
            super().dataReceived(data)


def is_silent(transport: Any) -> bool:
    """Return whether a connection has not sent anything yet."""
    return isinstance(getattr(transport, _attribute(transport)), Sniffer)


def _attribute(transport: Any) -> str:
    """Return the name of the attribute with a transport's protocol; a TLS transport wraps it."""
    return "protocol" if isinstance(transport, tcp.Connection) else "wrappedProtocol"

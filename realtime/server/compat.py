"""Compatibility with autobahn and Twisted: check at each start the private parts that are used, and patch slow ones."""

import socket
from typing import Any

from realtime.server import lean_daphne  # noqa: F401  # isort: skip  # before daphne, autobahn and Twisted

from autobahn.twisted import websocket as autobahn_twisted  # isort: skip
from autobahn.websocket import protocol as autobahn
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import tcp
from twisted.internet.protocol import Protocol

from realtime.server.transport import backlog, reactor, write_now


def find_unsupported() -> str:
    """Return why this release of Twisted or autobahn does not support `chatws.frames`; empty if it does."""
    for name in ("STATE_OPEN", "_closeConnection", "sendClose"):
        if not hasattr(WebSocketProtocol, name):
            return f"WebSocketProtocol has no {name}"
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    connection: Any = tcp.Connection  # its declared interface fits no real protocol
    transport = connection(ours, Protocol(), reactor)
    transport.connected = 1
    try:
        write_now(transport, b"ready")
        if backlog(transport) or theirs.recv(16) != b"ready":
            return "a write is not sent at once"
        much = bytes(8_000_000)
        write_now(transport, much)
        taken = 0
        try:
            while part := len(theirs.recv(len(much))):
                taken += part
        except BlockingIOError:
            pass
        if not 0 < taken < len(much) or backlog(transport) != len(much) - taken:
            return "the backlog differs from the bytes not sent"
    except Exception as error:  # whatever fails, this release does not fit
        return repr(error)
    finally:
        transport.stopWriting()
        ours.close()
        theirs.close()
    return ""


def patch_autobahn(factory: Any) -> None:
    """Make accepting a connection cheaper in autobahn; do nothing where a release lacks the patched names.

    autobahn copies thirty options of the factory to each connection, unless the class has them, and formats text for
    debug lines that are not logged. Together that is a third of the cost of accepting.
    """
    for name in getattr(factory.protocol, "CONFIG_ATTRS", ()):
        value = getattr(factory, name)
        setattr(factory.protocol, name, staticmethod(value) if callable(value) else value)
    for module in (autobahn, autobahn_twisted):
        for name in ("pformat", "hltype", "hlval"):
            if hasattr(module, name):
                setattr(module, name, _skip_format)


def _skip_format(thing: object) -> str:
    return ""

"""Check what happens to the bytes of a connection that a client did not read."""

import gc
import socket
import weakref
from types import SimpleNamespace
from typing import Any

from twisted.internet import tcp
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure

from realtime.server.http import Channel
from realtime.server.transport import backlog, reactor


class Unsent(bytearray):
    """Bytes whose end can be seen."""


def test_lost_connection_keeps_no_unsent_bytes() -> None:
    """A lost connection is a cycle of objects, which waits for the garbage collector with all that it holds."""
    ours, theirs = socket.socketpair()
    channel = Channel()
    nobody: Any = SimpleNamespace()
    transport: Any = tcp.Connection(ours, nobody, reactor)
    channel.makeConnection(transport)
    transport.dataBuffer = unsent = Unsent(100_000)
    transport._tempDataBuffer, transport._tempDataLen = [bytes(50_000)], 50_000
    gone = weakref.ref(unsent)
    assert backlog(transport) == 150_000
    gc.disable()
    try:
        channel.connectionLost(Failure(CONNECTION_LOST))  # type: ignore[no-untyped-call]
        del unsent
        assert gone() is None
        assert backlog(transport) == 0
    finally:
        gc.enable()
        ours.close()
        theirs.close()

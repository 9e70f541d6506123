"""Write to a Twisted TCP transport at once, and count its waiting bytes; only this module uses its private parts."""

from typing import Any

from realtime.server import lean_daphne  # noqa: F401  # isort: skip  # before daphne, autobahn and Twisted

from twisted.internet import reactor as twisted_reactor
from twisted.internet import tcp

reactor: Any = twisted_reactor  # the type checker does not know its interface


def backlog(transport: Any) -> int:
    """Return how many bytes a TCP transport has not written to its socket yet."""
    size: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    return size


def forget_unsent(transport: Any) -> None:
    """Free the bytes of a lost connection: its objects are a cycle, which the garbage collector may find much later."""
    while not isinstance(transport, tcp.Connection):
        transport = getattr(transport, "transport", None)  # below TLS, or an HTTP channel
        if transport is None:
            return
    transport.dataBuffer = b""
    transport.offset = transport._tempDataLen = 0
    transport._tempDataBuffer.clear()


def write_now(transport: Any, data: bytes) -> bool:
    """Write to a TCP transport: at once if nothing waits, instead of on the next turn of the event loop.

    Return whether the socket accepted all of it; if not, the transport resumes its producer when it has.
    """
    if not transport.dataBuffer and not transport._tempDataLen:
        try:
            sent = transport.socket.send(data)
        except OSError:  # full, or lost: the transport notices and reports that itself
            sent = 0
        if sent == len(data):
            return True
        data = data[sent:]
    transport.write(data)
    transport.producerPaused = True
    return False

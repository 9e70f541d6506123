"""Write to a TCP transport of Twisted at once, and count what waits in it: its private parts are touched here alone."""

from typing import Any

from realtime.server import lean_daphne  # noqa: F401  # isort: skip  # before daphne, autobahn and Twisted

from twisted.internet import reactor as twisted_reactor

reactor: Any = twisted_reactor  # its declared interface isn't what the type checker takes it for


def backlog(transport: Any) -> int:
    """Bytes given to a TCP transport that it hasn't written yet."""
    size: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    return size


def write_now(transport: Any, data: bytes) -> bool:
    """Write to a TCP transport: at once if nothing waits, instead of on the next turn of the loop.

    Whether the socket has taken it all; if not, the transport's producer is told when it has.
    """
    if not transport.dataBuffer and not transport._tempDataLen:
        try:
            sent = transport.socket.send(data)
        except OSError:  # full; or lost, which the transport then finds and reports in its own way
            sent = 0
        if sent == len(data):
            return True
        data = data[sent:]
    transport.write(data)
    transport.producerPaused = True
    return False

"""The scope extension `chatws.frames`: what a server that takes ready frames offers, and what it asks of their writer.

Offered by `realtime.server.websocket`, used by `realtime.connection.outbox`.
"""

from collections.abc import Callable
from typing import Protocol

EXTENSION = "chatws.frames"
"""The scope extension of a server that takes ready frames: a `Frames`."""


class Flow(Protocol):
    """Who writes frames; told as an `asyncio.Protocol` is when the socket takes no more, and when it does again."""

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def stop_sending(self) -> None:
        """What `Frames.direct` gave is no longer good: a closing handshake has begun."""


class Frames(Protocol):
    """What a server offers as `chatws.frames`: ready frames go to the socket at once, past ASGI's ``send``."""

    flow: Flow | None

    def direct(self) -> Callable[[bytes], int] | None:
        """The socket's own `send`, good until the flow is paused or stopped; None where frames have to pass `write`.

        What it didn't take, or all if it raised OSError, has to be given to `write_rest`.
        """

    def write(self, wire: bytes) -> None:
        """Send whole, unmasked frames. They are dropped once a closing handshake has begun."""

    def write_rest(self, wire: bytes) -> None:
        """Send what the socket didn't take; pauses the flow until it has."""

    def backlog(self) -> int:
        """Bytes that the socket hasn't taken yet."""

    def close(self, code: int) -> None:
        """Begin the closing handshake, behind what has been written."""

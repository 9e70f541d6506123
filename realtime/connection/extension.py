"""Define the scope extension `chatws.frames`: how ready WebSocket frames pass from connection to server.

`realtime.server.websocket` offers it, `realtime.connection.frames_outbox` uses it.
"""

from collections.abc import Callable
from typing import Protocol

EXTENSION = "chatws.frames"
"""The name of the scope extension; its value is a `Frames`."""


class Flow(Protocol):
    """The writer of frames. It is called as an `asyncio.Protocol` is when the socket's buffer fills and drains."""

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def stop_sending(self) -> None:
        """Stop using what `Frames.direct` returned: a closing handshake has begun."""


class Frames(Protocol):
    """Sends ready frames to the socket at once, past ASGI's ``send``."""

    flow: Flow | None

    def direct(self) -> Callable[[bytes], int] | None:
        """Return the socket's own `send`, valid until the flow is paused or stopped; None if `write` has to be used.

        Pass what it didn't take, or everything if it raised OSError, to `write_rest`.
        """

    def write(self, wire: bytes) -> None:
        """Send whole, unmasked frames. After a closing handshake has begun they are dropped."""

    def write_rest(self, wire: bytes) -> None:
        """Send what the socket didn't take; the flow is paused until then."""

    def backlog(self) -> int:
        """Return the bytes that the socket hasn't taken yet."""

    def close(self, code: int) -> None:
        """Begin the closing handshake behind what has been written."""

"""What a connection calls on the application above it: five methods, and the notices that it passes on."""

from dataclasses import dataclass
from typing import Protocol

from realtime.auth.principal import Principal
from realtime.exceptions import AuthenticationError, TransientError
from realtime.node.admission import Refusal


@dataclass(frozen=True, slots=True)
class TooFast:
    """A frame was not served, because too many or too long ones came before it."""

    text: str
    wait: float
    """Seconds after which the client may send again."""


@dataclass(frozen=True, slots=True)
class BinaryFrame:
    """A binary frame came. It counts as a bad one."""


@dataclass(frozen=True, slots=True)
class FrameFailed:
    """Serving a frame, or welcoming the user, raised an exception. ``text`` is the frame; empty for a welcome."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class OriginRefused:
    """The page's origin is not allowed. The connection is closed next."""


@dataclass(frozen=True, slots=True)
class TokenExpired:
    """The token has expired. The connection is closed next."""


@dataclass(frozen=True, slots=True)
class Restarting:
    """The process ends. The connection is closed next."""

    retry_after: int
    """Seconds after which the client should reconnect."""


Notice = (
    TooFast | BinaryFrame | FrameFailed | OriginRefused | TokenExpired | Restarting
    | Refusal | AuthenticationError | TransientError
)  # fmt: skip
"""What a connection tells its client, in a frame of the application's. After a `Refusal`, `AuthenticationError` or
`TransientError` the connection is closed."""


class ConnectionHandler(Protocol):
    """The application's side of one connection."""

    async def authenticated(self, principal: Principal) -> None:
        """Welcome a user whose token came with the handshake."""

    async def frame_received(self, text: str, size: int) -> None:
        """Serve a text frame of ``size`` bytes. Frames are served one after the other."""

    def can_overtake(self, text: str) -> bool:
        """Return whether a text frame may be served before earlier ones that wait. Serving it must not wait itself."""

    def notify(self, notice: Notice) -> None:
        """Send the client a frame about something that the connection decided."""

    def closed(self) -> None:
        """Clean up: the connection has ended."""

"""The events and errors of a client."""

import json
import math
from dataclasses import dataclass
from typing import Any

from chatws.client.positions import Position

Frame = dict[str, Any]


def encoded(frame: Frame) -> bytes:
    """Encode a frame. Raises TypeError or ValueError for data that cannot be encoded as JSON in UTF-8."""
    return json.dumps(frame, ensure_ascii=False).encode()


MAX_WAIT_SECONDS = 86_400.0


def duration(value: object) -> float:
    """Return seconds that a server named, at most a day; 0.0 if they are not a positive number."""
    try:
        seconds = float(value)  # type: ignore[arg-type]  # whatever the server sent
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), MAX_WAIT_SECONDS)


class Closed(Exception):
    """The client has ended.

    ``code`` is the close code (44xx: something has to change first). ``frame`` is the frame without a reply, which the
    next client of the same user may `resend`.
    """

    def __init__(self, code: int, message: str = "", *, reason: str = "", frame: Frame | None = None) -> None:
        super().__init__(f"closed with {code}: {message}" if message else f"closed with {code}")
        self.code = code
        self.message = message
        self.reason = reason
        self.frame = frame

    def again(self) -> "Closed":
        """Return a new exception for the same end, without ``frame``: an exception is raised once."""
        return Closed(self.code, self.message, reason=self.reason)


class Refused(Exception):
    """The server rejected ``frame``. ``code`` follows HTTP; ``retry_after`` is in seconds."""

    def __init__(
        self, code: int, message: str, *, frame: Frame | None = None, reason: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.frame = frame
        self.reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Connected:
    """The client connected or reconnected, and is authenticated; ``welcome`` is the `auth_success` frame."""

    welcome: Frame


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended or failed, and the client will reconnect; ``message`` is the reason, if known."""

    code: int
    message: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """A frame of the server. The publications of a feed come in order, once and without a gap; others as received."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Lost:
    """Publications before this position of a feed were lost; ask for the history."""

    feed: str
    position: Position


Event = Connected | Disconnected | Received | Lost

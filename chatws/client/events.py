"""What a client tells, and what it raises."""

import json
from dataclasses import dataclass
from typing import Any

from chatws.client.places import Place

Frame = dict[str, Any]


def encoded(frame: Frame) -> bytes:
    """A frame as it is written. Raises TypeError or ValueError for what JSON or UTF-8 doesn't hold."""
    return json.dumps(frame, ensure_ascii=False).encode()


class Closed(Exception):
    """The client has ended. ``code`` is the close code (44xx: something has to change first), ``frame`` what had no
    answer yet: the next client of the same user may `resend` it."""

    def __init__(self, code: int, message: str = "", *, reason: str = "", frame: Frame | None = None) -> None:
        super().__init__(f"closed with {code}: {message}" if message else f"closed with {code}")
        self.code = code
        self.message = message
        self.reason = reason
        self.frame = frame


class Refused(Exception):
    """The server won't take ``frame``. ``code`` follows HTTP; ``retry_after`` is in seconds."""

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
    """Authenticated, anew or again; ``welcome`` is the `auth_success` frame."""

    welcome: Frame


@dataclass(frozen=True, slots=True)
class Disconnected:
    """There is no connection, and another will be tried; ``message`` says why, where that is known."""

    code: int
    message: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """A frame of the server: the publications of each feed in order, gapless and once; others as they come."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Lost:
    """What lay before this place of a feed can't be had: ask for the history."""

    feed: str
    place: Place


Event = Connected | Disconnected | Received | Lost

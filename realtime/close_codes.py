"""Close codes of sockets (docs/protocol.md, "Close codes"). A code is also the label of its metric.

44xx: the client has to change something before it reconnects. 45xx: the client reconnects by itself and resumes.
"""

from enum import IntEnum


class CloseCode(IntEnum):
    """A close code that this server or a client may send, with its meaning."""

    meaning: str

    def __new__(cls, value: int, meaning: str = "") -> "CloseCode":
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    NORMAL = 1000, "closed normally"
    GOING_AWAY = 1001, "the client went away"
    NO_STATUS = 1005, "closed without a code"
    ABNORMAL = 1006, "the connection broke off"
    INVALID_TEXT = 1007, "not UTF-8"
    TOO_BIG = 1009, "frame over the limit"
    BAD_FRAMES = 4400, "too many bad frames"
    UNAUTHENTICATED = 4401, "not authenticated"
    FORBIDDEN = 4403, "closed by an administrator, or origin refused"
    TOO_MANY_CONNECTIONS = 4409, "the user opened more connections than allowed"
    INTERNAL_ERROR = 4500, "an error of ours"
    RESTARTING = 4501, "the server restarts"
    TOO_SLOW = 4502, "reads too slowly"
    AT_LIMIT = 4503, "the server is at its connection limit"
    IDLE = 4508, "no frame and no pong"
    RATE_LIMITED = 4529, "kept exceeding the rate limit"


def label_of(code: int) -> str:
    """Return a close code as a metric's label; ``other`` for an unknown one."""
    try:
        return str(int(CloseCode(code)))
    except ValueError:
        return "other"


def meaning_of(code: int) -> str:
    """Return the meaning of a close code in a few words; ``"unknown"`` for an unknown one."""
    try:
        return CloseCode(code).meaning
    except ValueError:
        return "unknown"

"""Values of replies, and their bytes in RESP2 and RESP3."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


class Failure(str):
    """An error reply: its code, a space and its text, for example ``ERR syntax error``."""


class Simple(str):
    """A status reply, for example ``OK``."""


class Double(bytes):
    """A floating-point number, already formatted. RESP2 has it as a string."""


class Text(bytes):
    """A text for people (INFO). RESP3 marks it as one."""


Reply: TypeAlias = bytes | int | Simple | Failure | Sequence["Reply"] | None
"""What a command answers. None is RESP2's null string. A sequence is always a list."""


class Map(list[Reply]):
    """Names and values in turn: a map in RESP3, a flat list in RESP2."""


class MapOfPairs(list[Reply]):
    """Lists of a name and its value: a map in RESP3, a list of lists in RESP2 (XREAD)."""


class Pairs(list[Reply]):
    """Names and values in turn: a list of lists in RESP3, a flat list in RESP2."""


class Members(list[Reply]):
    """The members of a set: a set in RESP3, a list in RESP2."""


class Push(list[Reply]):
    """A message of pub/sub: a push in RESP3, a list in RESP2."""


class Replies(list[Reply]):
    """Several replies to one command, such as SUBSCRIBE with several channels. They are sent one after the other."""


class NullArray(list[Reply]):
    """The type of `NULL_ARRAY`."""


NULL_ARRAY = NullArray()
"""The reply of XREAD without entries: RESP2's null list."""
OK = Simple("OK")


@dataclass(slots=True)
class Blocked:
    """XREAD found no entry and waits: until ``deadline`` (Unix seconds; None: for ever) or a write to one of ``keys``.

    ``retry`` returns the reply, or None if there is still no entry.
    """

    keys: list[bytes]
    deadline: float | None
    retry: Callable[[], Reply | None]


class Refusal(Exception):
    """Raised by a command to answer with an error."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.failure = Failure(text)


WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
SYNTAX_ERROR = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"


def text_of(value: bytes) -> str:
    """Return bytes of a request as text for an error message, up to a zero byte; `encode` gives the same bytes back."""
    return value.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def encode(reply: Reply, protocol: int) -> bytes:
    """Return the bytes of a reply in RESP2 or RESP3 (``protocol``: 2 or 3)."""
    value: Any = reply
    kind = type(value)
    if kind is bytes:
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if kind is int:
        return b":%d\r\n" % value
    if value is None:
        return b"$-1\r\n" if protocol == 2 else b"_\r\n"
    return _ENCODERS[kind](value, protocol)


def _line(mark: bytes) -> Callable[[Any, int], bytes]:
    def encoded(reply: str, protocol: int) -> bytes:
        return mark + reply.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape") + b"\r\n"

    return encoded


def _all_of(replies: Sequence[Reply], protocol: int) -> bytes:
    return b"".join([encode(reply, protocol) for reply in replies])


def _list(reply: Sequence[Reply], protocol: int) -> bytes:
    return b"*%d\r\n" % len(reply) + _all_of(reply, protocol)


def _null_array(reply: Reply, protocol: int) -> bytes:
    return b"*-1\r\n" if protocol == 2 else b"_\r\n"


def _double(reply: bytes, protocol: int) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(reply), reply) if protocol == 2 else b",%b\r\n" % reply


def _text(reply: bytes, protocol: int) -> bytes:
    if protocol == 2:
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"=%d\r\ntxt:%b\r\n" % (len(reply) + 4, reply)


def _map(reply: Map, protocol: int) -> bytes:
    return _list(reply, protocol) if protocol == 2 else b"%%%d\r\n" % (len(reply) // 2) + _all_of(reply, protocol)


def _map_of_pairs(reply: MapOfPairs, protocol: int) -> bytes:
    if protocol == 2:
        return _list(reply, protocol)
    pairs: list[Any] = reply
    return b"%%%d\r\n" % len(pairs) + b"".join([_all_of(pair, protocol) for pair in pairs])


def _pairs(reply: Pairs, protocol: int) -> bytes:
    if protocol == 2:
        return _list(reply, protocol)
    return _list([list(pair) for pair in zip(reply[::2], reply[1::2], strict=True)], protocol)


def _members(reply: Members, protocol: int) -> bytes:
    return b"%b%d\r\n" % (b"*" if protocol == 2 else b"~", len(reply)) + _all_of(reply, protocol)


def _push(reply: Push, protocol: int) -> bytes:
    return b"%b%d\r\n" % (b"*" if protocol == 2 else b">", len(reply)) + _all_of(reply, protocol)


_ENCODERS: dict[type, Callable[[Any, int], bytes]] = {
    Failure: _line(b"-"), Simple: _line(b"+"), Double: _double, Text: _text, list: _list, Map: _map,
    MapOfPairs: _map_of_pairs, Pairs: _pairs, Members: _members, Push: _push, Replies: _all_of, NullArray: _null_array,
}  # fmt: skip

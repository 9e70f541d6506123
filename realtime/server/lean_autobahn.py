"""Import of autobahn only what serves WebSockets: neither WAMP, nor `click`, nor `cffi`.

`lean_daphne` imports this one before daphne does. autobahn's WebSocket modules import all of WAMP for one class, and
its native UTF-8 validator parses C declarations at each start. `Utf8Validator` and `XorMasker` take the place of both
native classes; they too leave the work to C, by Python's codecs and integers.

Nothing is replaced where autobahn is imported already, is another release than the one this was written for, or where
`AUTOBAHN_USE_NVX` chooses one of its own validators.
"""

import codecs
import os
import re
import sys
from importlib.metadata import version
from types import ModuleType
from typing import Any

from realtime.imports import without

WRITTEN_FOR = "26.10.2"
LONGEST_CHARACTER = 4
SURROGATE = re.compile(rb"\xed[\xa0-\xbf]")
"""Begins no character in UTF-8. Python's codec finds that with the third byte; RFC 3629 forbids it with the second."""


class Utf8Validator:
    """autobahn's `Utf8Validator`: whether bytes that come in parts are UTF-8 so far."""

    __slots__ = ("_decoder", "_is_valid", "_total")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_valid = True
        self._total = 0

    def reset(self) -> None:
        """Begin another text."""
        self._decoder.reset()
        self._is_valid = True
        self._total = 0

    def validate(self, data: bytes) -> tuple[bool, bool, int, int]:
        """Whether all is valid so far, whether it ends with a whole character, and up to where in ``data`` and in all.

        After bytes that aren't valid nothing is, until `reset`.
        """
        if not self._is_valid:
            return False, False, 0, self._total
        before = len(self._decoder.getstate()[0])
        size = len(data)
        try:
            self._decoder.decode(data)
        except UnicodeDecodeError as error:
            self._is_valid = False
            size = error.start + _valid_length(error.object[error.start :]) - before
        unfinished = self._decoder.getstate()[0]
        if self._is_valid and SURROGATE.match(unfinished):
            self._is_valid = False
            size -= 1
        self._total += size
        return self._is_valid, self._is_valid and not unfinished, size, self._total


def _valid_length(data: bytes) -> int:
    """How many of the first bytes can begin a character; the codec tells only where one begins that isn't valid."""
    if SURROGATE.match(data):
        return 1
    for size in range(1, LONGEST_CHARACTER):
        try:
            codecs.utf_8_decode(data[:size], "strict", False)
        except UnicodeDecodeError:
            return size - 1
    return LONGEST_CHARACTER - 1


class XorMasker:
    """autobahn's masker of a frame's payload, which comes in parts (RFC 6455 section 5.3)."""

    __slots__ = ("_at", "_mask")

    def __init__(self, mask: bytes, length: int | None = None) -> None:
        self._mask = mask
        self._at = 0

    def pointer(self) -> int:
        """How many bytes were masked."""
        return self._at

    def reset(self) -> None:
        """Begin another payload."""
        self._at = 0

    def process(self, data: bytes) -> bytes:
        """Mask the next part."""
        size, turn = len(data), self._at & 3
        key = (self._mask[turn:] + self._mask[:turn]) * (size // 4 + 1)
        self._at += size
        return (int.from_bytes(data) ^ int.from_bytes(key[:size])).to_bytes(size)


class TransportDetails:
    """What autobahn notes of a transport: as much of the class in `autobahn.wamp.types` as its server uses."""

    CHANNEL_TYPE_TCP, CHANNEL_TYPE_TLS, CHANNEL_FRAMING_WEBSOCKET = 4, 5, 2
    peer: str | None = None
    is_secure: bool | None = None
    is_server: bool | None = None

    def __init__(self, **details: Any) -> None:
        self.__dict__.update(details)


def _stand_in(name: str, **contents: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(contents)
    return module


def _import_lean() -> None:
    """Import autobahn while stand-ins are there for WAMP; afterwards the real WAMP can be imported."""
    bases: dict[str, Any] = {
        name: type(name, (), {})
        for name in (
            "WampWebSocketServerProtocol", "WampWebSocketClientProtocol",
            "WampWebSocketServerFactory", "WampWebSocketClientFactory",
        )
    }  # fmt: skip
    websocket = _stand_in("autobahn.wamp.websocket", **bases)
    stand_ins = {
        "autobahn.wamp": _stand_in("autobahn.wamp", websocket=websocket),
        "autobahn.wamp.types": _stand_in("autobahn.wamp.types", TransportDetails=TransportDetails),
        "autobahn.wamp.websocket": websocket,
        "autobahn.twisted.wamp": _stand_in("autobahn.twisted.wamp", ApplicationSession=object),
    }
    sys.modules.update(stand_ins)
    try:
        with without("click", "_nvx_utf8validator"):
            import autobahn.twisted.websocket  # noqa: F401
    finally:
        for name in stand_ins:
            del sys.modules[name]
    from autobahn.websocket import protocol as of_autobahn

    protocol: Any = of_autobahn
    protocol.Utf8Validator = Utf8Validator
    protocol.create_xor_masker = XorMasker


if "autobahn" not in sys.modules and "AUTOBAHN_USE_NVX" not in os.environ and version("autobahn") == WRITTEN_FOR:
    _import_lean()

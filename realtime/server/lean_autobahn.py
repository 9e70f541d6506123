"""Import only autobahn's WebSocket server, without WAMP, `click` and `cffi`, for a faster start.

`lean_daphne` imports this module before daphne. autobahn's WebSocket modules import all of WAMP for one class, and its
native UTF-8 validator parses C declarations at each start. `Utf8Validator` and `XorMasker` replace both native classes;
they also run in C, through Python's codecs and integers.

Nothing is replaced if autobahn is already imported, if its release differs from `WRITTEN_FOR`, or if
`AUTOBAHN_USE_NVX` selects one of autobahn's validators.
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
"""No UTF-8 character begins like this. RFC 3629 forbids the second byte, Python's codec only rejects the third."""


class Utf8Validator:
    """Replaces autobahn's `Utf8Validator`: validates UTF-8 that arrives in parts."""

    __slots__ = ("_decoder", "_is_valid", "_total")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_valid = True
        self._total = 0

    def reset(self) -> None:
        """Begin a new text."""
        self._decoder.reset()
        self._is_valid = True
        self._total = 0

    def validate(self, data: bytes) -> tuple[bool, bool, int, int]:
        """Validate the next part.

        Return whether all is valid so far, whether it ends with a complete character, and the number of valid bytes in
        ``data`` and in total. After an invalid byte nothing is valid until `reset`.
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
    """Return how many first bytes are a valid beginning; the codec reports only where the invalid character begins."""
    if SURROGATE.match(data):
        return 1
    for size in range(1, LONGEST_CHARACTER):
        try:
            codecs.utf_8_decode(data[:size], "strict", False)
        except UnicodeDecodeError:
            return size - 1
    return LONGEST_CHARACTER - 1


class XorMasker:
    """Replaces autobahn's masker: masks a frame's payload that arrives in parts (RFC 6455 section 5.3)."""

    __slots__ = ("_at", "_mask")

    def __init__(self, mask: bytes, length: int | None = None) -> None:
        self._mask = mask
        self._at = 0

    def pointer(self) -> int:
        """Return how many bytes were masked."""
        return self._at

    def reset(self) -> None:
        """Begin a new payload."""
        self._at = 0

    def process(self, data: bytes) -> bytes:
        """Mask the next part and return it."""
        size, turn = len(data), self._at & 3
        key = (self._mask[turn:] + self._mask[:turn]) * (size // 4 + 1)
        self._at += size
        return (int.from_bytes(data) ^ int.from_bytes(key[:size])).to_bytes(size)


class TransportDetails:
    """Replaces the class in `autobahn.wamp.types`, with the attributes that autobahn's server uses."""

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
    """Import autobahn with stand-ins for WAMP, then remove them, so that the real WAMP can be imported later."""
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

"""Find the commands and the replies in the bytes of a Redis connection (RESP2 and RESP3)."""

from collections.abc import Iterator

LINES = b"+-:_,#("
"""First bytes of values that are one line."""
BLOBS = b"$!="
"""First bytes of values with a length."""
LISTS = b"*~>%"
"""First bytes of values that hold others."""


class Values:
    """Splits a stream of bytes into complete values."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each value that is complete now."""
        self._buffer += data
        start = 0
        while (end := _end(self._buffer, start)) is not None:
            yield bytes(self._buffer[start:end])
            start = end
        del self._buffer[:start]


def words_of(command: bytes) -> list[bytes]:
    """Return the words of a command or of a reply that is a list of strings; other values are empty words."""
    words, at = [], command.index(b"\r\n") + 2
    while at < len(command):
        end = _end(command, at)
        assert end is not None
        line = command.index(b"\r\n", at)
        words.append(command[line + 2 : end - 2] if command[at : at + 1] == b"$" else b"")
        at = end
    return words


def _end(buffer: bytes | bytearray, start: int) -> int | None:
    """Return where the value that begins at ``start`` ends; None if it isn't complete."""
    line = buffer.find(b"\r\n", start)
    if line < 0:
        return None
    kind, rest, at = buffer[start], buffer[start + 1 : line], line + 2
    if kind in LINES:
        return at
    length = int(rest)
    if kind in BLOBS:
        at += length + 2 if length >= 0 else 0
        return at if at <= len(buffer) else None
    assert kind in LISTS, bytes(buffer[start:line])
    for _ in range(2 * length if kind == ord("%") else max(length, 0)):
        end = _end(buffer, at)
        if end is None:
            return None
        at = end
    return at

"""What `cmsgpack.pack` of Redis's Lua makes of strings and lists of strings."""

from collections.abc import Sequence


def pack(value: bytes | Sequence[bytes]) -> bytes:
    """Return a string or a list of strings as MessagePack."""
    if isinstance(value, bytes):
        return _head(len(value), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + value
    return _head(len(value), 0x90, 16, (0, 0xDC, 0xDD)) + b"".join([pack(part) for part in value])


def _head(length: int, fixed: int, fixed_limit: int, marks: tuple[int, int, int]) -> bytes:
    """Return the mark and the length; the first mark is 0 if there is no form with a length of one byte."""
    if length < fixed_limit:
        return bytes([fixed | length])
    for mark, size in zip(marks, (1, 2, 4), strict=True):
        if mark and length < 1 << 8 * size:
            return bytes([mark]) + length.to_bytes(size, "big")
    raise ValueError("longer than MessagePack can tell")

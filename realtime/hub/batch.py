"""Text frames that go out together, encoded once for all who get them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

TEXT = 0x81  # RFC 6455: the last part of a text message, unmasked


class Batch:
    """Frames in order, each a JSON object's bytes. ``ephemeral``: a client that reads slowly may miss them.

    ``texts`` are the frames as ASGI wants them, ``wire`` is all of them as they stand on the wire; each is made when it
    is first asked for, and then there for all who get it.
    """

    __slots__ = ("count", "ephemeral", "frames", "size", "texts", "wire")

    texts: list[str]
    wire: bytes

    def __init__(self, frames: Sequence[bytes], *, ephemeral: bool = False) -> None:
        self.frames = frames
        self.count = len(frames)
        self.size = sum(map(len, frames))
        """Bytes of all frames, headers left out."""
        self.ephemeral = ephemeral

    def __getattr__(self, name: str) -> Any:
        # Only called for what isn't there yet: a slot costs each member of a feed less than a property would.
        if name == "wire":
            self.wire = b"".join([part for frame in self.frames for part in (_header(len(frame)), frame)])
            return self.wire
        if name == "texts":
            self.texts = [frame.decode() for frame in self.frames]
            return self.texts
        raise AttributeError(name)


def batches(frames: Iterable[bytes], most_bytes: int) -> Iterator[Batch]:
    """Frames in batches that end once they reach ``most_bytes``."""
    some: list[bytes] = []
    size = 0
    for frame in frames:
        some.append(frame)
        size += len(frame)
        if size >= most_bytes:
            yield Batch(some)
            some, size = [], 0
    if some:
        yield Batch(some)


def _header(size: int) -> bytes:
    if size < 126:
        return bytes((TEXT, size))
    if size < 65_536:
        return bytes((TEXT, 126)) + size.to_bytes(2)
    return bytes((TEXT, 127)) + size.to_bytes(8)

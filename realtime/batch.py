"""Text frames that go out together, encoded once for all who get them."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

TEXT = 0x81  # RFC 6455: the last part of a text message, unmasked


class Batch:
    """Frames in order, each a JSON object's bytes. ``ephemeral``: a client that reads slowly may miss them."""

    # With a dictionary, for the cached properties: there is one batch for all who get it.

    def __init__(self, frames: Sequence[bytes], *, ephemeral: bool = False) -> None:
        self.frames = frames
        self.size = sum(map(len, frames))
        """Bytes of all frames, headers left out."""
        self.ephemeral = ephemeral

    @cached_property
    def texts(self) -> list[str]:
        """The frames as ASGI wants them."""
        return [frame.decode() for frame in self.frames]

    @cached_property
    def wire(self) -> bytes:
        """The frames as they stand on the wire, one behind the other."""
        return b"".join([part for frame in self.frames for part in (_header(len(frame)), frame)])


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

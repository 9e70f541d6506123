"""Encode text frames that go out together, once for all their receivers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

TEXT = 0x81  # RFC 6455: the last part of a text message, unmasked


class Batch:
    """Frames in order, each the bytes of a JSON object.

    ``ephemeral``: they may be dropped for a slow client. ``live``: they are publications, which a client resumes.

    ``texts`` are the frames as ASGI takes them. ``wire`` is all of them as WebSocket frames. Each is made on first use
    and then shared by all receivers.
    """

    __slots__ = ("count", "ephemeral", "frames", "live", "size", "texts", "wire")

    texts: list[str]
    wire: bytes

    def __init__(self, frames: Sequence[bytes], *, ephemeral: bool = False, live: bool = False) -> None:
        self.frames = frames
        self.count = len(frames)
        self.size = sum(map(len, frames))
        """Bytes of all frames, headers left out."""
        self.ephemeral = ephemeral
        self.live = live

    def __getattr__(self, name: str) -> Any:
        # Only called for what isn't there yet: a slot costs each subscriber of a feed less than a property would.
        if name == "wire":
            self.wire = b"".join([part for frame in self.frames for part in (_header(len(frame)), frame)])
            return self.wire
        if name == "texts":
            self.texts = [frame.decode() for frame in self.frames]
            return self.texts
        raise AttributeError(name)


def batches(frames: Iterable[bytes], max_bytes: int) -> Iterator[Batch]:
    """Yield the frames in batches; a batch ends once it reaches ``max_bytes``."""
    some: list[bytes] = []
    size = 0
    for frame in frames:
        some.append(frame)
        size += len(frame)
        if size >= max_bytes:
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

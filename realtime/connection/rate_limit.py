"""Limit how many frames and bytes one connection may send."""

import time
from typing import NamedTuple

from realtime.aio.bucket import Bucket, bucket_of
from realtime.conf import RealtimeConf


class Excess(NamedTuple):
    """The limit that a frame exceeded, ``frames`` or ``bytes``, and the seconds until the next frame is served."""

    limit: str
    wait: float


class FrameLimit:
    """Frames and bytes that one connection may send a second. It is created with the first frame."""

    __slots__ = ("_bytes", "_frames", "_refusals")

    def __init__(self, conf: RealtimeConf) -> None:
        self._frames = bucket_of(conf.frames_per_second, conf.burst_seconds)
        self._bytes = bucket_of(conf.bytes_per_second, conf.burst_seconds)
        self._refusals = Bucket(conf.refusals_per_minute / 60, conf.refusals_per_minute)

    def take(self, size: int) -> Excess | None:
        """Count a frame of ``size`` bytes; return the limit that it exceeds, if any."""
        now = time.monotonic()
        if self._frames is not None and (wait := self._frames.take(1, now)):
            return Excess("frames", wait)
        if self._bytes is not None and (wait := self._bytes.take(size, now)):
            return Excess("bytes", wait)
        return None

    def exceeded(self) -> bool:
        """Count a frame that was refused; return whether there were too many of them."""
        return self._refusals.take(1, time.monotonic()) > 0

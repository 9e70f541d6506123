"""Decide whether this process accepts another connection."""

import resource
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from realtime.addresses import limit_key
from realtime.aio.bucket import KeyedBuckets, bucket_of
from realtime.conf import RealtimeConf


class Refusal(NamedTuple):
    """Why a connection is refused: a message, a label, and the seconds after which to try again."""

    message: str
    reason: str
    retry_after: int


class Admission:
    """Counts the connections of this process and refuses those above its limits."""

    def __init__(self, conf: RealtimeConf) -> None:
        self._conf = conf
        self._accepts = bucket_of(conf.accepts_per_second, conf.burst_seconds)
        self._accepts_by_address = KeyedBuckets(conf.accepts_per_address, conf.burst_seconds)
        self._by_address: Counter[str] = Counter()
        self._count = 0
        self.memory = 0
        """Bytes of memory that this process held when last measured."""

    def enter(self, address: str) -> Refusal | None:
        """Count a connection in and return why it is refused, if so. Call `leave` at its end in either case.

        The limits by address come before the rate of all, so that one address cannot use that up. An IPv6 address
        counts as its /64 network. A connection without an address (a Unix socket) is limited only with all others.
        """
        key = limit_key(address)
        self._count += 1
        self._by_address[key] += 1
        conf, now = self._conf, time.monotonic()
        if 0 < conf.max_connections < self._count:
            return Refusal(f"this gateway has its {conf.max_connections} connections", "connections", 5)
        if 0 < conf.max_memory_bytes < self.memory:
            return Refusal("this gateway is short of memory", "memory", 30)
        if key and 0 < conf.connections_per_address < self._by_address[key]:
            return Refusal(f"{key} has its {conf.connections_per_address} connections", "address", 5)
        if key and (wait := self._accepts_by_address.take(key, 1, now)):
            return Refusal(f"connections of {key} come too fast", "accepts", int(wait) + 1)
        if self._accepts is not None and (wait := self._accepts.take(1, now)):
            return Refusal("connections come too fast", "accepts", int(wait) + 1)
        return None

    def leave(self, address: str) -> None:
        """Count a connection out."""
        key = limit_key(address)
        self._count -= 1
        self._by_address[key] -= 1
        if not self._by_address[key]:
            del self._by_address[key]


def resident_memory() -> int:
    """Return the bytes of memory that this process holds; 0 on systems without Linux's /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0

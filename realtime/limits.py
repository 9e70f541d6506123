"""How much one connection, address, user and process may do. What goes over it is told, with the seconds to wait.

Asked by the consumer before it serves. A limit of 0 is none.
"""

import asyncio
import ipaddress
import logging
import resource
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from realtime.aio import tasks
from realtime.aio.bucket import Bucket
from realtime.conf import Network, RealtimeConf
from realtime.redis.client import Redis
from realtime.redis.scripts import Script

logger = logging.getLogger(__name__)

_allow = Script("allow")


class Excess(NamedTuple):
    """What went over a connection's limit, ``frames`` or ``bytes``, and the seconds until the next frame is served."""

    limit: str
    wait: float


class FrameLimit:
    """What one connection may send: frames and bytes a second. Made with its first frame."""

    __slots__ = ("_bytes", "_frames", "_refusals")

    def __init__(self, conf: RealtimeConf) -> None:
        self._frames = _bucket(conf.frames_per_second, conf.burst_seconds)
        self._bytes = _bucket(conf.bytes_per_second, conf.burst_seconds)
        self._refusals = Bucket(conf.refusals_per_minute / 60, conf.refusals_per_minute)

    def take(self, size: int) -> Excess | None:
        """Count a frame of so many bytes, or say what it goes over."""
        now = time.monotonic()
        if self._frames is not None and (wait := self._frames.take(1, now)):
            return Excess("frames", wait)
        if self._bytes is not None and (wait := self._bytes.take(size, now)):
            return Excess("bytes", wait)
        return None

    def keeps_on(self) -> bool:
        """Count a frame that was refused: whether there were too many of them."""
        return self._refusals.take(1, time.monotonic()) > 0


class Refusal(NamedTuple):
    """Why a connection isn't let in, in words, as a label, and the seconds after which it may try again."""

    message: str
    reason: str
    retry_after: int


class Admission:
    """Who is let into this process."""

    def __init__(self, conf: RealtimeConf) -> None:
        self._conf = conf
        self._accepts = _bucket(conf.accepts_per_second, conf.burst_seconds)
        self._by_address: Counter[str] = Counter()
        self._count = 0
        self.memory = 0
        """Bytes that this process holds, as last looked at."""

    def enter(self, address: str) -> Refusal | None:
        """Count a connection in, or say why it can't stay; `leave` counts it out in either case."""
        self._count += 1
        self._by_address[address] += 1
        conf = self._conf
        if 0 < conf.max_connections < self._count:
            return Refusal(f"this gateway has its {conf.max_connections} connections", "connections", 5)
        if 0 < conf.max_memory_bytes < self.memory:
            return Refusal("this gateway is short of memory", "memory", 30)
        if 0 < conf.connections_per_address < self._by_address[address]:
            limit = conf.connections_per_address
            return Refusal(f"{address or 'this address'} has its {limit} connections", "address", 5)
        if self._accepts is not None and (wait := self._accepts.take(1, time.monotonic())):
            return Refusal("connections come too fast", "accepts", int(wait) + 1)
        return None

    def leave(self, address: str) -> None:
        """Count a connection out."""
        self._count -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class UserLimit:
    """What one user may do a second, over all its devices and gateways: a bucket in Redis for each user.

    All that are asked for in one turn of the loop take one round trip.
    """

    def __init__(self, redis: Redis, name: str, rate: float, burst_seconds: float) -> None:
        self._redis = redis
        self._name = name
        self._rate = rate
        self._burst = max(1.0, rate * burst_seconds)
        self._asked: list[tuple[int, asyncio.Future[float]]] = []

    async def take(self, user_id: int) -> float:
        """Count one: 0.0, or the seconds to wait. Raises what Redis raises."""
        if not self._rate:
            return 0.0
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._ask_all)
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._asked.append((user_id, answer))
        return await answer

    def _ask_all(self) -> None:
        asked, self._asked = self._asked, []
        tasks.spawn(self._answer_all(asked), f"limit {self._name}")

    async def _answer_all(self, asked: list[tuple[int, asyncio.Future[float]]]) -> None:
        calls: list[tuple[list[str], list[str | int | float]]] = [
            ([f"chatws:limit:{self._name}:{user_id}"], [self._rate, self._burst]) for user_id, _ in asked
        ]
        try:
            waits = await _allow.run_all(self._redis, calls)
        except BaseException as error:
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error if isinstance(error, Exception) else ConnectionError(repr(error)))
                    answer.exception()  # nobody may be waiting any more
            if not isinstance(error, Exception):
                raise
            return
        for (_, answer), wait in zip(asked, waits, strict=True):
            if not answer.done():
                answer.set_result(int(wait) / 1000)


def client_address(peer: str, forwarded: str, trusted: Iterable[Network]) -> str:
    """Whose connection it is: the peer, or what trusted proxies say of it in ``X-Forwarded-For``.

    Read from the right: the first address that isn't a proxy's. What isn't an address at all, a client made up.
    """
    proxies = list(trusted)
    address = peer
    for part in reversed(forwarded.split(",")):
        if not _is_in(address, proxies):
            break
        try:
            address = str(ipaddress.ip_address(part.strip()))
        except ValueError:
            break
    return address


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def resident_memory() -> int:
    """Bytes of memory that this process holds; 0 where the system doesn't tell as Linux does."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def _bucket(rate: float, burst_seconds: float) -> Bucket | None:
    return Bucket(rate, max(1.0, rate * burst_seconds)) if rate else None

"""What a fault may break: the parts of the system under their locks, the readers' networks, the traffic, the ledger."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field

from tests.faults.system import System
from tests.support.ledger import Cause, Kind, Ledger
from tests.support.proxy import Proxy

WAIT_SECONDS = 120.0
"""Seconds to wait for a fault's effect; a wait that ends without it is a broken promise."""
PARTS = ("redis", "relay", "gateway", "rpc", "etcd", "network", "traffic")
LOOK_SECONDS = 0.05


@dataclass
class Stage:
    """The parts that a fault may break."""

    system: System
    ledger: Ledger
    networks: Mapping[str, Proxy]
    """By the reader's name."""
    groups: Sequence[str]
    rng: random.Random
    pause_seconds: float
    say: Callable[[str, str], Awaitable[str]]
    """Send a text to a chat group; return the message's id once it is acked."""
    flushed: Kind
    """What a FLUSHALL may do."""
    steady: frozenset[str] = frozenset()
    """The names of the readers that are in all groups during the whole run."""
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nobody may send messages, add members or remove them."""
    active: int = 0
    """How many are at it."""
    locks: dict[str, asyncio.Lock] = field(default_factory=lambda: {part: asyncio.Lock() for part in PARTS})

    @asynccontextmanager
    async def holding(self, parts: Sequence[str]) -> AsyncIterator[None]:
        """Hold the locks of parts, always in the same order."""
        taken = [self.locks[part] for part in PARTS if part in parts]
        for lock in taken:
            await lock.acquire()
        try:
            yield
        finally:
            for lock in taken:
                lock.release()

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[None]:
        """Do something that makes publications: wait until it is allowed."""
        while self.quiet.is_set():
            await asyncio.sleep(LOOK_SECONDS)
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        """Let nobody else send anything during the block."""
        self.quiet.set()
        try:
            await self.until(lambda: not self.active, "the senders did not finish")
            yield
        finally:
            self.quiet.clear()

    async def until(self, condition: Callable[[], bool], problem: str) -> None:
        """Return once a condition holds; after `WAIT_SECONDS` that is a broken promise."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                self.ledger.problem(problem)
                return
            await asyncio.sleep(LOOK_SECONDS)

    def fault(
        self, kind: Kind, *, feed: str = "", readers: Collection[str] | None = None
    ) -> AbstractContextManager[Cause]:
        """Record that a fault acts during the block."""
        return self.ledger.fault(kind, feed=feed, readers=readers)

    def struck(self, kind: Kind) -> None:
        """Record a fault that acts at this moment."""
        with self.fault(kind):
            pass

    async def moment(self, least: float = 0.0, most: float = 1.0) -> None:
        """Sleep for a random time."""
        await asyncio.sleep(self.rng.uniform(least, most))


Break = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """A kind of fault, the parts it breaks, and its number of occurrences in each round."""

    name: str
    parts: tuple[str, ...]
    times: int
    work: Break

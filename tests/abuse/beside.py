"""Run a well-behaved client beside an attack: it must be served, and the gateway's memory must not grow.

The client's waiting time depends on the machine, so a test only records it; `make proofs` judges it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.test_revocation import welcomed
from tests.support.chat import new_user
from tests.support.client import make_token
from tests.support.stack import Gateway

SLOWEST_SECONDS = 2.0
"""Seconds that an answer to a well-behaved client may take."""
REQUEST_SECONDS = 9.0
"""Seconds until an incomplete request is closed with a limit of 4 s; the default limit is 10 s."""


@dataclass
class Delays:
    """Seconds measured during this process's attacks: answers to the client beside, ends of slow requests."""

    answers: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)


SEEN = Delays()


@dataclass
class Beside:
    """The figures of the client beside an attack. ``slowest``: seconds; ``growth``: the gateway's memory in bytes."""

    answered: int = 0
    slowest: float = 0.0
    growth: int = 0


def rss(gateway: Gateway) -> int:
    """Return a gateway's memory in bytes."""
    [line] = [line for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines() if "VmRSS" in line]
    return int(line.split()[1]) * 1024


@asynccontextmanager
async def unharmed(gateway: Gateway, megabytes: int = 30) -> AsyncIterator[Beside]:
    """Check meanwhile that a client is served and that the gateway grows by at most so many megabytes."""
    client = await welcomed(gateway, make_token(new_user()))
    beside, before, is_over = Beside(), rss(gateway), asyncio.Event()

    async def use() -> None:
        while not is_over.is_set() or not beside.answered:
            began = time.monotonic()
            assert (await client.ask("ping"))["type"] == "pong"
            beside.slowest = max(beside.slowest, time.monotonic() - began)
            beside.growth = max(beside.growth, rss(gateway) - before)
            beside.answered += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):  # the client's own pace
                    await is_over.wait()

    using = asyncio.create_task(use())
    try:
        yield beside
    finally:
        is_over.set()
        await using  # its last answer counts, too
    await client.close()
    SEEN.answers.append(beside.slowest)
    beside.growth = max(beside.growth, rss(gateway) - before)
    assert beside.growth < megabytes * 1_000_000
    assert "Traceback" not in gateway.log.read_text()

"""Open thousands of sockets that never authenticate, beside a well-behaved client."""

import asyncio
import resource
import time
from dataclasses import dataclass, field

from realtime.node.node import MEASURE_SECONDS
from tests.abuse.beside import Beside, unharmed
from tests.support.scrape import Scraped
from tests.support.stack import Gateway, Stack

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
SHOWN_OUT = b"\x88\x02" + (4401).to_bytes(2)
"""The close frame."""
OPENED_AT_ONCE = 100
PATIENCE_SECONDS = 300.0
"""Seconds to wait for an expected event; it only catches a hang."""

Socket = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Idle:
    """The result of the attack.

    ``most``: sockets that were open at a time, the client's own among them; ``told``: sockets that received `timeout`
    and closed with 4401.
    """

    beside: Beside = field(default_factory=Beside)
    most: int = 0
    told: int = 0
    seconds: float = 0.0


async def idle_socket(gateway: Gateway) -> Socket:
    """Open a WebSocket whose client sends nothing after the handshake, at the lowest cost for the test."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    writer.write(UPGRADE + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


async def attack(stack: Stack, count: int, *, auth_timeout: float, megabytes: int) -> Idle:
    """Open so many sockets; check that each closes after ``auth_timeout`` and leaves nothing behind."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    began = time.monotonic()
    gateway = await asyncio.to_thread(
        stack.start_gateway, CHATWS_AUTH_TIMEOUT=str(auth_timeout), CHATWS_CONNECTIONS_PER_ADDRESS="0"
    )
    found = Idle()
    async with unharmed(gateway, megabytes) as found.beside, asyncio.timeout(PATIENCE_SECONDS):
        idle: list[Socket] = []
        while len(idle) < count:
            some = min(OPENED_AT_ONCE, count - len(idle))
            idle += await asyncio.gather(*(idle_socket(gateway) for _ in range(some)))
        while (seen := await open_now(gateway)) > found.most:  # the gauge lags behind
            found.most = seen
            await asyncio.sleep(2 * MEASURE_SECONDS)
        said = await asyncio.gather(*(reader.readuntil(SHOWN_OUT) for reader, _ in idle))
        found.told = sum(b'"timeout"' in one for one in said)
        for _, writer in idle:
            writer.close()
        while await open_now(gateway) != 1:
            await asyncio.sleep(0.1)
    await asyncio.to_thread(gateway.stop, seconds=PATIENCE_SECONDS)
    found.seconds = time.monotonic() - began
    return found


async def open_now(gateway: Gateway) -> int:
    """Return how many sockets the gateway counts as open."""
    seen = await asyncio.to_thread(Scraped, f"{gateway.http}/metrics")
    return int(seen.total("chatws_connections"))

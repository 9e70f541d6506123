"""Attack with HTTP requests: incomplete, slow and ambiguous ones, and sockets without authentication."""

import asyncio
import time

import pytest

from tests.abuse import idle
from tests.abuse.attacks.closing import ended
from tests.abuse.beside import SEEN, unharmed
from tests.abuse.idle import UPGRADE
from tests.support.client import Client, connect
from tests.support.scrape import Scraped
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.ours_only


@pytest.mark.parametrize("first", [b"", b"GET /ws HT", UPGRADE])
async def test_connection_without_a_request_is_closed(first: bytes, attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(first)
        await ended(reader)
        SEEN.requests.append(time.monotonic() - began)
        writer.close()
        assert Scraped(f"{gateway.http}/metrics").total("chatws_refusals_total", limit="request") > 0


async def test_slow_request_is_closed(attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked

    async def drip(writer: asyncio.StreamWriter) -> None:
        try:
            for number in range(10_000):
                writer.write(f"X-{number}: {number}\r\n".encode())
                await writer.drain()
                await asyncio.sleep(0.5)
        except ConnectionError:
            return

    async with unharmed(gateway):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(UPGRADE)
        dripping = asyncio.create_task(drip(writer))
        await ended(reader)
        SEEN.requests.append(time.monotonic() - began)
        dripping.cancel()
        writer.close()


async def test_unauthenticated_sockets_are_closed_without_a_trace(attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway):
        silent: list[Client] = []
        for _ in range(8):
            silent += await asyncio.gather(*(connect(gateway.ws) for _ in range(50)))
        assert set(await asyncio.gather(*(client.closed() for client in silent))) == {4401}


async def test_hundreds_of_silent_sockets_are_closed(attacked: tuple[Stack, Gateway]) -> None:
    """Close 500 silent sockets; `make proofs` opens ten thousand and judges the waits of the client beside them."""
    stack, _ = attacked
    found = await idle.attack(stack, 500, auth_timeout=5, megabytes=40)
    assert found.told == 500
    assert found.beside.answered > 0


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /docs/api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /docs/api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 1\r\n\r\na",
        b"GET /docs/api HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na",
        b"GET /docs/api HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /docs/api HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na",
        b"GET /docs/api HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"GET /docs/api HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET /docs/api HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n",
        b"GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\nY: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
        b"GET /health\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n",
        UPGRADE + b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
        UPGRADE + b"Upgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\nb: c\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)  # fmt: skip
async def test_ambiguous_request_is_rejected(request_line: bytes, attacked: tuple[Stack, Gateway]) -> None:
    """Send a request that a proxy may take for one; the gateway must not take it for two."""
    _, gateway = attacked
    async with unharmed(gateway):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_line)
        answer = await ended(reader)
        assert answer.count(b"HTTP/1.1 ") <= 1
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 ", b"HTTP/1.1 431 "))
        writer.close()

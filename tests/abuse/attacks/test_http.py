"""Attack with HTTP requests that are large, unfinished, or whose answers nobody reads."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.abuse.attacks.closing import PATIENCE_SECONDS, ended
from tests.abuse.beside import unharmed
from tests.support.stack import Gateway, Stack
from tests.support.waiting import until

pytestmark = pytest.mark.ours_only

HOST = b"Host: localhost\r\n"
LARGE_FILE = b"/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
GIGABYTES = b"Content-Length: 1500000000\r\n"


@asynccontextmanager
async def opened(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a TCP connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def good_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Have a request answered; the connection stays open."""
    writer.write(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(2) == b"OK"


@pytest.mark.parametrize(
    "head",
    [
        b"POST /health HTTP/1.1\r\n" + HOST + GIGABYTES,
        b"POST /ready HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n",
        b"GET /ws/health?a=b HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n",
        b"POST /api/token/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1048577\r\n",
        b"POST /api/token/ HTTP/1.1\r\n" + HOST + GIGABYTES + b"Expect: 100-continue\r\n",
        b"POST /api/token/ HTTP/1.0\r\n" + GIGABYTES,
        b"POST /api/token/ HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5_000 + b"\r\n",
    ],
)
async def test_large_body_is_refused_by_its_headers(head: bytes, attacked: tuple[Stack, Gateway]) -> None:
    async with opened(attacked[1]) as (reader, writer):
        writer.write(head + b"\r\n")
        answer = await ended(reader)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"POST /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n",
        b"POST /api/token/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n",
        b"POST /health HTTP/1.1\r\n" + HOST + GIGABYTES,
    ],
)
async def test_large_body_is_never_kept(head: bytes, attacked: tuple[Stack, Gateway]) -> None:
    part = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    async with unharmed(attacked[1]), opened(attacked[1]) as (reader, writer):
        writer.write(head + b"\r\n")
        sent = 0
        try:
            while sent < 1_500_000_000 and not reader.at_eof():
                writer.write(part)
                await writer.drain()
                sent += len(part)
        except ConnectionError:  # it was dropped for sending on and on
            pass
        assert sent < 1_500_000_000
        assert (await ended(reader)).startswith((b"HTTP/1.1 413 ", b""))


async def test_body_at_the_limit_is_served(attacked: tuple[Stack, Gateway]) -> None:
    async with opened(attacked[1]) as (reader, writer):
        writer.write(b"POST /api/token/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1048576\r\nConnection: close\r\n\r\n")
        writer.write(b" " * 1_048_576)
        assert b"HTTP/1.1 4" in await ended(reader)
    async with opened(attacked[1]) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        writer.write(b"0\r\n\r\n")
        assert (await ended(reader)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"GET /health HT", b""),
        (b"GET /health HTTP/1.1\r\nX-", b"y"),
        (b"GET /health HTTP/1.1\r\n", b"X: y\r\n"),
        (b"\r\n", b""),
        (b"POST /api/token/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n", b""),
        (b"POST /api/token/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n", b"x"),
        (b"POST /api/token/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"POST /api/token/ HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"T: x\r\n"),
    ],
)
async def test_unfinished_second_request_is_closed(begin: bytes, drip: bytes, attacked: tuple[Stack, Gateway]) -> None:
    async with opened(attacked[1]) as (reader, writer):
        await good_request(reader, writer)
        writer.write(begin)
        answer = asyncio.create_task(ended(reader))
        for _ in range(1_000):
            if answer.done() or writer.is_closing():
                break
            writer.write(drip)
            await asyncio.wait([answer], timeout=0.3)
        assert (await answer).startswith((b"HTTP/1.1 408 ", b""))


async def test_idle_connection_is_closed(attacked: tuple[Stack, Gateway]) -> None:
    async with opened(attacked[1]) as (reader, writer):
        await good_request(reader, writer)
        await good_request(reader, writer)
        assert await ended(reader) == b""


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_unread_answers_are_bounded_and_dropped(version: bytes, attacked: tuple[Stack, Gateway]) -> None:
    """Request a file of 1.4 MB by 120 clients that never read; the gateway must not keep 168 MB for them."""
    _, gateway = attacked
    deaf = []
    async with unharmed(gateway, megabytes=60):
        for _ in range(120):
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.setblocking(False)
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", gateway.port))
            plain.send(b"GET " + LARGE_FILE + b" " + version + b"\r\n" + HOST + b"\r\n")
            deaf.append(plain)
        await until(lambda: all(map(is_reset, deaf)), what="every client that does not read is dropped")
    for plain in deaf:
        plain.close()


def is_reset(plain: socket.socket) -> bool:
    """Return whether the peer has aborted a connection; nothing is read."""
    return plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 7  # TCP_CLOSE


async def test_pipelined_requests_of_a_deaf_client_are_bounded(attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    request = b"GET /docs/openapi.yaml HTTP/1.1\r\n" + HOST + b"\r\n"
    async with unharmed(gateway), opened(gateway) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # the kernel's buffer fills

        async def write_on() -> None:
            for _ in range(1_000):
                writer.write(request * 1_000)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(write_on(), PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /" + b"a" * 20_000, b"414"),
        (b"GET /health HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 600 + b"\r\n", b"431"),
        (b"GET /health HTTP/1.1\r\n" + (b"X: " + b"y" * 1_000 + b"\r\n") * 20, b"431"),
    ],
)
async def test_long_head_is_refused(head: bytes, status: bytes, attacked: tuple[Stack, Gateway]) -> None:
    async with opened(attacked[1]) as (reader, writer):
        writer.write(head)
        assert (await ended(reader)).startswith(b"HTTP/1.1 " + status)

"""Check the client's address through a TCP balancer (PROXY protocol) and through a Unix socket."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from realtime.server.proxy_protocol import SIGNATURE
from tests.support.raw import TEXT, RawSocket
from tests.support.scrape import scraped
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT, until

pytestmark = pytest.mark.ours_only

BALANCER = "127.0.0.2"
"""An address of the loopback that is trusted here; the tests' other connections come from 127.0.0.1."""
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)


def line(address: str) -> bytes:
    return f"PROXY TCP{6 if ':' in address else 4} {address} {address} 51234 443\r\n".encode()


@pytest.fixture(scope="module")
def balanced(stack: Stack) -> Iterator[Gateway]:
    """Start a gateway behind a balancer that accepts one connection per address."""
    gateway = stack.start_gateway(
        CHATWS_PROXY_PROTOCOL="1", CHATWS_TRUSTED_PROXIES=BALANCER, CHATWS_CONNECTIONS_PER_ADDRESS="1",
        CHATWS_REQUEST_SECONDS="3",
    )  # fmt: skip
    yield gateway
    gateway.kill()


async def end(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def opened(stack: AsyncExitStack, *parts: bytes, **where: Any) -> tuple[asyncio.StreamReader, Any]:
    """Connect, and send these parts one by one."""
    reader, writer = await (
        asyncio.open_unix_connection(**where) if "path" in where else asyncio.open_connection("127.0.0.1", **where)
    )
    stack.push_async_callback(end, writer)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01)  # so that the parts are read one by one, most times
    return reader, writer


async def refusal_of(reader: asyncio.StreamReader, writer: Any) -> str:
    """Return why a socket is refused; empty if it stays open."""
    async with asyncio.timeout(LIMIT):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        raw = RawSocket(reader, writer)
        raw.send(TEXT, b'{"type":"ping"}')
        opcode, payload = await raw.frame()
        assert opcode == TEXT
        return str((json.loads(payload).get("data") or {}).get("reason", ""))


async def test_limits_count_the_address_that_the_balancer_names(balanced: Gateway) -> None:
    via = {"port": balanced.port, "local_addr": (BALANCER, 0)}
    binary = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([203, 0, 113, 9, 10, 0, 0, 1, 0, 80, 0, 80])
    async with AsyncExitStack() as stack:
        refusals = [
            await refusal_of(*await opened(stack, *parts, UPGRADE + b"\r\n", **via))
            for parts in (
                [line("203.0.113.8")],
                [line("203.0.113.8")],
                [b"PRO", b"XY TCP4 203.0.113.9 10.0.0.1 1 2\r", b"\n"],
                [binary[:5], binary[5:20], binary[20:]],
                [line("2001:db8::1")],
                [line("2001:db8::2")],
                [line("2001:db8:0:1::2")],
            )
        ]
    assert refusals == ["", "address", "", "address", "", "address", ""]


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00", SIGNATURE + b"\x21\x00\x00\x00", line("192.0.2.1")],
)
async def test_health_check_with_a_header_is_answered(header: bytes, balanced: Gateway) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with AsyncExitStack() as stack, asyncio.timeout(LIMIT):
        reader, _ = await opened(stack, header + request, port=balanced.port, local_addr=(BALANCER, 0))
        assert (await reader.read()).endswith(b"OK")


@pytest.mark.parametrize("first", [b"GET /health HTTP/1.1\r\n\r\n", b"PROXY TCP9 a b\r\n", b"PROXY TCP4 1", b""])
async def test_connection_without_a_good_header_is_dropped(first: bytes, balanced: Gateway) -> None:
    async with AsyncExitStack() as stack, asyncio.timeout(LIMIT):
        reader, _ = await opened(stack, first, port=balanced.port, local_addr=(BALANCER, 0))
        with suppress(ConnectionError):
            assert await reader.read() == b""
    if first.endswith(b"\r\n"):
        await scraped(f"{balanced.http}/metrics", lambda seen: seen.total("chatws_refusals_total", limit="proxy") > 0)
        await until(balanced.log.read_text, lambda log: "PROXY protocol" in log, "the log names the problem")
        assert f"a connection from {BALANCER} was refused" in balanced.log.read_text()


async def test_header_of_others_is_no_address(balanced: Gateway) -> None:
    async with AsyncExitStack() as stack, asyncio.timeout(LIMIT):
        reader, _ = await opened(stack, line("203.0.113.9") + UPGRADE + b"\r\n", port=balanced.port)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


async def test_unix_socket_has_addresses_by_header(stack: Stack, tmp_path: Path) -> None:
    path = str(tmp_path / "gateway.sock")
    gateway = stack.start_gateway("-u", path, CHATWS_CONNECTIONS_PER_ADDRESS="1")
    async with AsyncExitStack() as opening:
        refusals = [
            await refusal_of(*await opened(opening, UPGRADE + header + b"\r\n", path=path))
            for header in (
                b"X-Forwarded-For: 198.51.100.1, 203.0.113.8\r\n",
                b"X-Forwarded-For: 198.51.100.2, 203.0.113.8\r\n",
                b"X-Forwarded-For: 203.0.113.9:51234\r\n",
                b"",
                b"",
            )
        ]
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        reader, _ = await opened(opening, request, path=path)
        async with asyncio.timeout(LIMIT):
            assert (await reader.read()).endswith(b"OK")
    gateway.kill()
    assert refusals == ["", "address", "", "", ""]

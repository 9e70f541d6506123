"""Check that our server passes any application's messages on, by one that sends them back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import websockets

from tests.support.raw import BINARY, CLOSE, PING, TEXT, RawSocket, frame_of
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.ours_only
FINAL = 0x80


@pytest.fixture(scope="module")
def echo(stack: Stack) -> Gateway:
    """Start our server with an application that sends every message back."""
    return stack.start_gateway(server=("-m", "tests.support.echo", "--bind"))


@pytest.fixture
async def socket(echo: Gateway) -> AsyncIterator[websockets.ClientConnection]:
    async with websockets.connect(echo.ws) as socket:
        yield socket


@asynccontextmanager
async def handshaken(echo: Gateway) -> AsyncIterator[RawSocket]:
    """Open a WebSocket for frames by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    yield RawSocket(reader, writer)
    writer.transport.abort()


@pytest.mark.parametrize("message", ["", b"", "a", b"a", "é" * 10_000, bytes(60_000)])
async def test_message_comes_back_as_it_was(message: str | bytes, socket: websockets.ClientConnection) -> None:
    await socket.send(message)
    async with asyncio.timeout(LIMIT):
        assert await socket.recv() == message


BEFORE = frame_of(FINAL | TEXT, b"one") + frame_of(FINAL | BINARY, b"") + frame_of(FINAL | TEXT, b"two")
MALFORMED = [
    ("a reserved bit", frame_of(FINAL | 0x40 | TEXT, b"x"), 1002),
    ("a reserved opcode", frame_of(FINAL | 3, b"x"), 1002),
    ("a part of nothing", frame_of(FINAL, b"x"), 1002),
    ("no mask", b"\x81\x02{}", 1002),
    ("not UTF-8", frame_of(FINAL | TEXT, b"\xff"), 1007),
    ("not UTF-8 in a second part", frame_of(TEXT, b"a") + frame_of(FINAL, b"\xff"), 1007),
    ("a close of one byte", frame_of(FINAL | CLOSE, b"\x03"), 1002),
]


@pytest.mark.parametrize(("sent", "code"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
async def test_messages_before_a_malformed_frame_are_answered(sent: bytes, code: int, echo: Gateway) -> None:
    async with handshaken(echo) as raw:
        raw.writer.write(BEFORE + sent + frame_of(FINAL | PING, b"late") + frame_of(FINAL | TEXT, b"late"))
        seen = [await raw.frame() for _ in range(4)]
        assert seen[:3] == [(TEXT, b"one"), (BINARY, b""), (TEXT, b"two")]
        assert (seen[3][0], int.from_bytes(seen[3][1][:2])) == (CLOSE, code)
        if sent[0] != FINAL | CLOSE:
            raw.send(CLOSE, code.to_bytes(2))
        with suppress(ConnectionError):  # the server drops the connection once it has the answer to its close
            async with asyncio.timeout(LIMIT):
                assert await raw.reader.read() == b""

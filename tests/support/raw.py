"""Speak WebSocket by hand, for what client libraries prevent: not reading, sending after a close, raw frames."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.client import make_token
from tests.support.waiting import LIMIT

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame_of(first: int, payload: bytes) -> bytes:
    """Return a masked frame with a zero key; ``first`` is its first byte: final bit, reserved bits, opcode."""
    if len(payload) < 126:
        size = bytes([0x80 | len(payload)])
    elif len(payload) < 65_536:
        size = b"\xfe" + len(payload).to_bytes(2)
    else:
        size = b"\xff" + len(payload).to_bytes(8)
    return bytes([first]) + size + bytes(4) + payload


@dataclass
class RawSocket:
    """An open WebSocket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, opcode: int, payload: bytes = b"", *, final: bool = True) -> None:
        """Send a frame."""
        self.writer.write(frame_of(0x80 * final | opcode, payload))

    async def frame(self) -> tuple[int, bytes]:
        """Return the next frame's opcode and payload."""
        async with asyncio.timeout(LIMIT):
            first, second = await self.reader.readexactly(2)
            assert first & 0x70 == 0
            size = second
            if second in (126, 127):
                size = int.from_bytes(await self.reader.readexactly(2 if second == 126 else 8))
            return first & 15, await self.reader.readexactly(size)

    async def until(self, *kinds: str) -> str:
        """Read until a frame of one of these types; return its type."""
        while True:
            opcode, payload = await self.frame()
            if opcode == TEXT and (kind := json.loads(payload)["type"]) in kinds:
                return str(kind)


@asynccontextmanager
async def raw_socket(
    port: int, user: int, *, tls: ssl.SSLContext | None = None, receive_buffer: int = 0, address: str = ""
) -> AsyncIterator[RawSocket]:
    """Open an authenticated WebSocket of this user.

    ``receive_buffer`` limits the kernel's buffer to about that. ``address`` is sent as a proxy would, in
    `X-Forwarded-For`.
    """
    plain = socket.socket()
    if receive_buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    host = "localhost" if tls else None
    forwarded = f"X-Forwarded-For: {address}\r\n" if address else ""
    reader, writer = await asyncio.open_connection(sock=plain, ssl=tls, server_hostname=host, limit=4096)
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {make_token(user, 86_400)}\r\n{forwarded}\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    raw = RawSocket(reader, writer)
    await raw.until("auth_success")
    try:
        yield raw
    finally:
        writer.transport.abort()

"""Wait until the gateway closes a raw socket."""

import asyncio

from tests.support.raw import CLOSE, RawSocket

PATIENCE_SECONDS = 120.0
"""Seconds to wait for an expected event; it only catches a hang."""


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return the bytes of a socket until it is closed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def close_code(raw: RawSocket) -> int:
    """Return the close code; skip other frames."""
    while True:
        try:
            opcode, payload = await raw.frame()
        except (asyncio.IncompleteReadError, ConnectionError):
            return 1006
        if opcode == CLOSE:
            return int.from_bytes(payload[:2])

"""Attack with WebSocket frames: unfinished ones, endless fragments, floods, and answers that nobody reads."""

import asyncio
from contextlib import suppress

import pytest

from tests.abuse.attacks.closing import PATIENCE_SECONDS, close_code
from tests.abuse.beside import unharmed
from tests.support.chat import new_user
from tests.support.raw import CONTINUATION, PING, TEXT, raw_socket
from tests.support.scrape import Scraped
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.ours_only


DEAD_AFTER = ("--ping-interval", "1", "--ping-timeout", "4")
"""Options of a gateway that soon closes a silent client, but gives a slow machine time for a pong."""


async def test_slow_frame_counts_as_a_dead_connection(attacked: tuple[Stack, Gateway]) -> None:
    stack, _ = attacked
    gateway = stack.start_gateway(*DEAD_AFTER)

    async def drip(writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.1)

    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        raw.writer.write(b"\x81\xfe\x03\xe8" + bytes(4))
        dripping = asyncio.create_task(drip(raw.writer))
        assert await close_code(raw) == 4508
        dripping.cancel()


async def test_unfinished_frame_counts_as_a_dead_connection(attacked: tuple[Stack, Gateway]) -> None:
    stack, _ = attacked
    gateway = stack.start_gateway(*DEAD_AFTER)
    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        raw.writer.write(b"\x81\xfe\x03\xe8" + bytes(4) + b'{"type":')
        assert await close_code(raw) == 4508


async def test_flood_of_pings_is_closed(attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        for _ in range(1_000):
            raw.send(PING, b"flood")
        assert await close_code(raw) == 4529


@pytest.mark.parametrize("part", [b"", b"x"])
async def test_message_of_endless_fragments_is_closed(part: bytes, attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        raw.send(TEXT, b"{", final=False)
        for _ in range(2_000):
            raw.send(CONTINUATION, part, final=False)
        assert await close_code(raw) == 4400


async def test_flood_of_frames_is_closed(attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    async with unharmed(gateway), raw_socket(gateway.port, new_user()) as raw:
        for _ in range(5_000):
            raw.send(TEXT, b'{"type":"ping"}')
        assert await close_code(raw) == 4529


def overflows(gateway: Gateway) -> float:
    """Return how many connections were closed because their client did not read."""
    return Scraped(f"{gateway.http}/metrics").total("chatws_closes_total", code="4502")


async def test_client_that_never_reads_is_closed(attacked: tuple[Stack, Gateway]) -> None:
    stack, _ = attacked
    gateway = stack.start_gateway(
        CHATWS_FRAMES_PER_SECOND="0", CHATWS_BYTES_PER_SECOND="0", CHATWS_OUTBOX_BYTES="65536", CHATWS_PUBLIC_STATUS="1"
    )
    async with unharmed(gateway), raw_socket(gateway.port, new_user(), receive_buffer=4096) as raw:
        frame = b'{"type":"ping","message_id":"%s"}' % (b"x" * 60)

        async def ask() -> None:
            try:
                while True:
                    for _ in range(100):
                        raw.send(TEXT, frame)
                    await raw.writer.drain()
            except ConnectionError:
                return

        asking = asyncio.create_task(ask())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await asyncio.to_thread(overflows, gateway):
                await asyncio.sleep(0.1)
        asking.cancel()

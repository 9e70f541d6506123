"""Check that our server passes any application's messages on, by one that sends them back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import websockets

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


@pytest.mark.parametrize("message", ["", b"", "a", b"a", "é" * 10_000, bytes(60_000)])
async def test_message_comes_back_as_it_was(message: str | bytes, socket: websockets.ClientConnection) -> None:
    await socket.send(message)
    async with asyncio.timeout(LIMIT):
        assert await socket.recv() == message

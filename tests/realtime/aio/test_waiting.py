"""Check waiting for an event with a time-out."""

import asyncio

import pytest

from realtime.aio.waiting import wait_event
from tests.support.waiting import LIMIT


async def test_returns_whether_the_event_was_set() -> None:
    event = asyncio.Event()
    assert not await wait_event(event, 0.001)
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_event(event, LIMIT)


async def test_cancellation_together_with_the_event_is_kept() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(wait_event(event, LIMIT))
    await asyncio.sleep(0)
    event.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

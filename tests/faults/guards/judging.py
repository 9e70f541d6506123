"""Wait for the frames of a subscriber and find the errors in them."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from tests.support.hub import Listener

FEED = "group:g"
PATIENCE, SHORT_PATIENCE = 60.0, 1.0
"""Seconds to wait for expected frames: with the guard, where they arrive, and without it, where they may not."""

Patch = pytest.MonkeyPatch


async def arrives(listener: Listener, count: int) -> None:
    """Wait until so many frames have arrived, or until the time is over."""
    await until(listener, lambda: len(listener.frames) >= count)


async def comes_last(listener: Listener, number: int) -> None:
    """Wait until the frame of this number arrives, or until the time is over; repeats arrive before it."""
    await until(listener, lambda: any(frame["n"] == number for frame in listener.frames))


async def until(listener: Listener, condition: Callable[[], Any]) -> None:
    """Wait until a condition holds, or until the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await listener.until(condition)


def problems(listener: Listener, expected: Sequence[int], start: int = 0) -> set[str]:
    """Return the errors in the frames of a subscriber that joined at ``start`` and must have these numbers."""
    found = set()
    offsets = [start, *listener.offsets]
    numbers = [frame["n"] for frame in listener.frames]
    for before, after in pairwise(offsets):
        if after <= before:
            found.add("repeated")
        elif after > before + 1:
            found.add("gap")
    if len(numbers) != len(set(numbers)):
        found.add("repeated")
    if numbers != sorted(numbers):
        found.add("disorder")
    if set(expected) - set(numbers):
        found.add("lost")
    return found

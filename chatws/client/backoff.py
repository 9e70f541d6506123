"""When a client reconnects: after the wait that the server asked for, plus a random wait (full jitter)."""

import asyncio
import contextlib
import random
import time

from chatws.client.events import duration

HURRY_SECONDS = 3.0
"""Shortest time between two attempts that `hurry` asked for."""


class Backoff:
    """Random waits in seconds: up to ``first`` after one failure, doubled for each further one up to ``longest``."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._hurried = asyncio.Event()
        self._not_before = 0.0
        self._hurried_at = -HURRY_SECONDS
        self.failures = 0
        """How many connections failed in a row."""

    def window(self, failures: int) -> float:
        """Return the longest random wait after ``failures`` failures."""
        return min(self._longest, self._first * 2.0 ** min(failures - 1, 30))

    def wait_for(self, seconds: object) -> None:
        """Note that the server asked for a wait of ``seconds``; a value that is no number counts as 0."""
        self._not_before = max(self._not_before, time.monotonic() + duration(seconds))

    def hurry(self) -> None:
        """Shorten the random wait to at most ``first``; the wait that the server asked for stays."""
        self._hurried.set()

    async def pause(self) -> None:
        """Wait before the next connection; after `hurry` at most ``first`` more than the server asked for.

        `hurry` counts once in each wait, and attempts that it asked for are `HURRY_SECONDS` apart.
        """
        self._hurried.clear()
        until = self._next(0.0, self.window(self.failures))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._hurried.wait()
            self._hurried_at = max(time.monotonic(), self._hurried_at + HURRY_SECONDS)
            until = min(until, self._next(self._hurried_at, self._first))
            await asyncio.sleep(max(0.0, until - time.monotonic()))

    def _next(self, earliest: float, longest: float) -> float:
        """Return when to connect: at a random time within ``longest`` seconds from when the server allows it."""
        start = max(time.monotonic(), self._not_before, earliest)
        return start + random.uniform(0, longest)  # noqa: S311  # jitter

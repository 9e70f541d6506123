"""When a client reconnects: after the wait that the server asked for, plus a random wait (full jitter)."""

import asyncio
import contextlib
import random
import time


class Backoff:
    """Random waits in seconds: up to ``first`` after one failure, doubled for each further one up to ``longest``."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._hurried = asyncio.Event()
        self._not_before = 0.0
        self.failures = 0
        """How many connections failed in a row."""

    def window(self, failures: int) -> float:
        """Return the longest random wait after ``failures`` failures."""
        return min(self._longest, self._first * 2.0 ** min(failures - 1, 30))

    def wait_for(self, seconds: float) -> None:
        """Note that the server asked for a wait of ``seconds``."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def hurry(self) -> None:
        """Shorten the random wait to at most ``first``; the wait that the server asked for stays."""
        self._hurried.set()

    async def pause(self) -> None:
        """Wait before the next connection; after `hurry` at most ``first`` more than the server asked for."""
        longest = self.window(self.failures)
        with contextlib.suppress(TimeoutError):
            while True:
                self._hurried.clear()
                asked = max(0.0, self._not_before - time.monotonic())
                async with asyncio.timeout(asked + random.uniform(0, longest)):  # noqa: S311  # jitter
                    await self._hurried.wait()
                longest = self._first

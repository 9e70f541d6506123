"""When a client connects again: full jitter, after what the server asked for."""

import asyncio
import contextlib
import random
import time


class Backoff:
    """Waits in seconds: up to ``first`` after one failure, doubled for each further one up to ``longest``."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._hurried = asyncio.Event()
        self._not_before = 0.0
        self.failures = 0
        """Connections that failed in a row."""

    def window(self, failures: int) -> float:
        """The longest wait after so many failures."""
        return min(self._longest, self._first * 2.0 ** min(failures - 1, 30))

    def wait_for(self, seconds: float) -> None:
        """The server asks for a wait of so many seconds."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def hurry(self) -> None:
        """Wait no longer than the server asked for."""
        self._hurried.set()

    async def pause(self) -> None:
        """Wait; drawn anew, and short, when the application hurries."""
        longest = self.window(self.failures)
        with contextlib.suppress(TimeoutError):
            while True:
                self._hurried.clear()
                asked = max(0.0, self._not_before - time.monotonic())
                async with asyncio.timeout(asked + random.uniform(0, longest)):  # noqa: S311  # jitter
                    await self._hurried.wait()
                longest = self._first

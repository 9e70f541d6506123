"""Compute growing waits between attempts."""

import asyncio


class Backoff:
    """Waits in seconds: ``first``, then twice as long each time, up to ``longest``."""

    __slots__ = ("_first", "_longest", "wait")

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.wait = first
        """The next wait."""

    def reset(self) -> None:
        """Begin with ``first`` again: an attempt succeeded."""
        self.wait = self._first

    def take(self) -> float:
        """Return the next wait; the one after it is longer."""
        wait = self.wait
        self.wait = min(2 * wait, self._longest)
        return wait

    async def sleep(self) -> None:
        """Sleep for the next wait."""
        await asyncio.sleep(self.take())

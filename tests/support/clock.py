"""A clock that a test moves: timers of the running loop end when the test says so."""

import asyncio

import pytest


class LoopClock:
    """The running loop's time stands still until `advance`. Keep no other timer running beside it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: self._now)

    async def advance(self, seconds: float) -> None:
        """Let time pass; return once the timers that ended have been called."""
        self._now += seconds
        for _ in range(3):
            await asyncio.sleep(0)

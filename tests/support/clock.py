"""Move the running loop's clock by hand, so that a test decides when timers end."""

import asyncio

import pytest


class LoopClock:
    """Stop the running loop's time until `advance`. No other timer may run at the same time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: self._now)

    async def advance(self, seconds: float) -> None:
        """Advance the time; return once the timers that ended have been called."""
        self._now += seconds
        for _ in range(3):
            await asyncio.sleep(0)

"""That a user is typing, as the others are told: never stored, not too often, and over by itself.

One a connection, made with its first `typing` frame.
"""

import asyncio
import math
import time
from collections.abc import Callable

from chatws.exceptions import FrameError
from realtime.aio.bucket import Bucket
from realtime.observability import metrics

EXPIRES_SECONDS = 6.0
"""Who says nothing for so long types no longer."""
AGAIN_SECONDS = 3.0
"""How often the others are told again that somebody still types; clients may repeat it as often as they like."""
TOLD_PER_SECOND, TOLD_AT_ONCE = 2.0, 10.0


class Typist:
    """One connection's typing, by chat group. ``tell`` tells a group's others."""

    def __init__(self, tell: Callable[[str, bool], None]) -> None:
        self._tell = tell
        self._told_at: dict[str, float] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}
        self._told = Bucket(TOLD_PER_SECOND, TOLD_AT_ONCE)

    def set(self, group_id: str, *, typing: bool) -> None:
        """The user types in a chat group, or no longer does.

        Raises:
            FrameError: 429, it changes too often. What is on then ends by itself.
        """
        now = time.monotonic()
        is_on = group_id in self._ends
        if typing and (not is_on or now - self._told_at[group_id] >= AGAIN_SECONDS):
            self._take(now)
            self._told_at[group_id] = now
            self._tell(group_id, True)
        if typing:
            self._end_later(group_id)
        elif is_on:
            self._take(now)
            self.end(group_id)

    def end(self, group_id: str) -> None:
        """The user no longer types in a chat group."""
        timer = self._ends.pop(group_id, None)
        if timer is not None:
            timer.cancel()
            del self._told_at[group_id]
            self._tell(group_id, False)

    def end_all(self) -> None:
        """The connection is gone."""
        for group_id in list(self._ends):
            self.end(group_id)

    def _end_later(self, group_id: str) -> None:
        if group_id in self._ends:
            self._ends[group_id].cancel()
        self._ends[group_id] = asyncio.get_running_loop().call_later(EXPIRES_SECONDS, self.end, group_id)

    def _take(self, now: float) -> None:
        if wait := self._told.take(1, now):
            metrics.refusals.labels("typing").inc()
            raise FrameError(429, "too many changes of typing: not told", retry_after=math.ceil(wait))

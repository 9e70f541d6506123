"""Send a connection's typing states to the chat group: not stored, rate-limited, and ended by a timeout.

A connection gets its `Typist` with its first `typing` frame.
"""

import asyncio
import math
import time
from collections.abc import Callable

from chatws.exceptions import FrameError
from realtime.aio.bucket import Bucket
from realtime.observability import metrics

EXPIRES_SECONDS = 6.0
"""The typing state ends this long after the client's last `typing` frame."""
AGAIN_SECONDS = 3.0
"""The shortest time between two notifications that a user still types; clients may repeat their frame more often."""
CHANGES_PER_SECOND, CHANGES_AT_ONCE = 2.0, 10.0
"""The rate limit of notifications, and its burst."""


class Typist:
    """The typing states of one connection, by chat group. ``notify`` sends a state to a group's other users."""

    def __init__(self, notify: Callable[[str, bool], None]) -> None:
        self._notify = notify
        self._sent_at: dict[str, float] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}
        self._limit = Bucket(CHANGES_PER_SECOND, CHANGES_AT_ONCE)

    def set(self, group_id: str, *, typing: bool) -> None:
        """Set whether the user types in a chat group.

        Raises:
            FrameError: 429, the state changes too often. A started typing state ends by its timeout.
        """
        now = time.monotonic()
        is_on = group_id in self._ends
        if typing and (not is_on or now - self._sent_at[group_id] >= AGAIN_SECONDS):
            self._take(now)
            self._sent_at[group_id] = now
            self._notify(group_id, True)
        if typing:
            self._end_later(group_id)
        elif is_on:
            self._take(now)
            self.end(group_id)

    def end(self, group_id: str) -> None:
        """End the typing state in a chat group."""
        timer = self._ends.pop(group_id, None)
        if timer is not None:
            timer.cancel()
            del self._sent_at[group_id]
            self._notify(group_id, False)

    def end_all(self) -> None:
        """End all typing states: the connection has closed."""
        for group_id in list(self._ends):
            self.end(group_id)

    def _end_later(self, group_id: str) -> None:
        if group_id in self._ends:
            self._ends[group_id].cancel()
        self._ends[group_id] = asyncio.get_running_loop().call_later(EXPIRES_SECONDS, self.end, group_id)

    def _take(self, now: float) -> None:
        if wait := self._limit.take(1, now):
            metrics.refusals.labels("typing").inc()
            raise FrameError(429, "too many typing changes: not delivered", retry_after=math.ceil(wait))

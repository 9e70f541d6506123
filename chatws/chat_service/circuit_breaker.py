"""A circuit before the chat service: while it doesn't answer, nobody waits for it."""

import logging
import math
import time

from realtime.observability import metrics

logger = logging.getLogger(__name__)

FAILURES = 5
"""So many calls that weren't answered, and none that was meanwhile, open the circuit."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 4.0


class Circuit:
    """Closed: calls pass. Open: they fail at once, but for one now and then, whose success closes it again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = 0
        self._wait = FIRST_WAIT
        self._try_at = 0.0
        self._answered_at = -math.inf

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once, as a rule."""
        return self._failures >= FAILURES

    @property
    def patience(self) -> float:
        """Seconds that a call made now may take at most: one that only tries, half of what was waited for it."""
        return self._wait / 2 if self.is_open else math.inf

    def lets_through(self) -> bool:
        """Whether a call may be made now."""
        if not self.is_open:
            return True
        now = time.monotonic()
        if now < self._try_at:
            return False
        self._try_at = now + self._wait  # this one tries; the next may if nothing is known of it by then
        return True

    def succeeded(self) -> None:
        """A call was answered, whatever the answer."""
        if self.is_open:
            logger.info("%s answers again", self._name)
            metrics.circuit_open.set(0)
        self._failures, self._wait = 0, FIRST_WAIT
        self._answered_at = time.monotonic()

    def failed(self, began: float, why: str) -> None:
        """A call that began then (`time.monotonic`) was not answered.

        It says nothing of the service if another was answered since: one instance of several hangs, or one method.
        """
        if self._answered_at >= began:
            return
        was_open = self.is_open
        self._failures += 1
        if not self.is_open:
            return
        if was_open:
            self._wait = min(2 * self._wait, LONGEST_WAIT)
        else:
            logger.warning("%s doesn't answer, calls fail at once for now: %s", self._name, why)
            metrics.circuit_open.set(1)
        self._try_at = time.monotonic() + self._wait

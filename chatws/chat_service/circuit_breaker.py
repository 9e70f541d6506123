"""Let calls fail at once while the chat service doesn't answer (a circuit breaker)."""

import logging
import math
import time

from realtime.observability import metrics

logger = logging.getLogger(__name__)

FAILURES = 5
"""This many unanswered calls, with no answered call between them, open the circuit."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 4.0


class Circuit:
    """A circuit breaker. While it is closed, calls pass.

    While it is open, calls fail at once, except for a trial call after each wait. An answered call closes it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = 0
        self._wait = FIRST_WAIT
        self._try_at = 0.0
        self._answered_at = -math.inf

    @property
    def is_open(self) -> bool:
        """Return whether calls fail at once, except for trial calls."""
        return self._failures >= FAILURES

    @property
    def call_seconds(self) -> float:
        """Return the longest time in seconds that a call may take now; a trial call gets half of the wait before it."""
        return self._wait / 2 if self.is_open else math.inf

    def allows_call(self) -> bool:
        """Return whether a call may be made now; while the circuit is open, True starts a trial call."""
        if not self.is_open:
            return True
        now = time.monotonic()
        if now < self._try_at:
            return False
        self._try_at = now + self._wait  # the next trial call, if this one has no result by then
        return True

    def succeeded(self) -> None:
        """Record a call that was answered, with any status."""
        if self.is_open:
            logger.info("%s answers again", self._name)
            metrics.circuit_open.set(0)
        self._failures, self._wait = 0, FIRST_WAIT
        self._answered_at = time.monotonic()

    def failed(self, began: float, why: str) -> None:
        """Record a call that was not answered; ``began`` is its start (`time.monotonic`).

        It does not count if another call was answered since: then only one instance or one method hangs.
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

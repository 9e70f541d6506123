"""Watch the services that a process depends on. `/ready` shows their states and a gauge raises the alarm.

Readiness doesn't vote on them: they are shared, so that all gateways would drop out of the balancer together.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from realtime.observability import metrics

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str]]
"""Returns ``ok``, or why the dependency is unavailable."""

INTERVAL_SECONDS = 1.0
CHECK_SECONDS = 2.0


async def answer_of(check: Check) -> str:
    """Return what a check answers; after `CHECK_SECONDS` that it does not. It never raises."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:  # a boundary: gRPC raises errors of its own for a channel that is replaced meanwhile
        logger.exception("a check of a dependency failed")
        return f"unavailable: {str(error) or type(error).__name__}"


class Dependencies:
    """The state of each dependency, as last seen. ``states``: ``ok``, or why it is unavailable."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._answered: set[str] = set()
        self.states = dict.fromkeys(checks, "not asked yet")

    def have_answered(self, *names: str) -> bool:
        """Return whether each of these has been ``ok`` at least once."""
        return self._answered.issuperset(names)

    async def run(self) -> None:
        """Check all of them once a second, until cancelled."""
        while True:
            await asyncio.gather(*(self._check(name, check) for name, check in self._checks.items()))
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _check(self, name: str, check: Check) -> None:
        state = self.states[name] = await answer_of(check)
        if state == "ok":
            self._answered.add(name)
        metrics.dependency_up.labels(name).set(state == "ok")

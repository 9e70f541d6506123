"""Coalesce requests for background work: requests during a run cause one more run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from realtime.aio import tasks

logger = logging.getLogger(__name__)


class Rerun:
    """Background work that runs again if it was requested while it ran, so that no wake-up is lost.

    A failure is logged under its name; later requests run the work again.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        self._work = work
        self._name = name
        self._wanted = False
        self.task: asyncio.Task[None] | None = None
        """The current run."""

    def ask(self) -> None:
        """Run the work, or run it once more after the current run."""
        self._wanted = True
        if self.task is None:
            self.task = tasks.spawn(self._run(), self._name)

    def cancel(self) -> None:
        """Cancel the current run."""
        if self.task is not None:
            self.task.cancel()

    async def _run(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                try:
                    await self._work()
                except Exception:
                    logger.exception("%s failed", self._name)
        finally:
            self.task = None

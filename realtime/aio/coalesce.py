"""Work that is asked for more often than it can be done."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from realtime.aio import tasks

logger = logging.getLogger(__name__)


class Rerun:
    """Work in the background that runs again if it was asked for while it ran, so that no wake-up is lost.

    A failure is logged under its name, and ends nothing.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        self._work = work
        self._name = name
        self._wanted = False
        self.task: asyncio.Task[None] | None = None
        """The run that is under way."""

    def ask(self) -> None:
        """Run the work, or run it again after the run that is under way."""
        self._wanted = True
        if self.task is None:
            self.task = tasks.spawn(self._run(), self._name)

    def cancel(self) -> None:
        """Cancel the run that is under way."""
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

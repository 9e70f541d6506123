"""The log of all processes of a world, with virtual times; errors that nobody expects are findings."""

import logging
import re
from collections import deque

from tests.simulation.scheduler import Scheduler

KEPT = 3_000
EXPECTED = re.compile(
    r"the stream (ends at|no longer exists)|were removed unread|dead letters were dropped|will not be published"
)
"""Errors that a fault explains: they tell an operator what was lost."""


class WorldLog(logging.Handler):
    """Collects what is logged. ``unexpected``: errors without a name in `EXPECTED`."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(logging.DEBUG)
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.unexpected: list[str] = []
        self._scheduler = scheduler
        self._exceptions = logging.Formatter()

    def install(self) -> None:
        """Take the place of every other handler."""
        logging.lastResort = None
        for name in ("", *logging.root.manager.loggerDict):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
        logging.getLogger().addHandler(self)
        logging.getLogger().setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        running = self._scheduler.running
        process = running.process.name if running is not None else "world"
        line = f"{self._scheduler.now:10.4f} {process:12} {record.levelname:7} {record.name}: {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self._exceptions.formatException(record.exc_info)
        self.lines.append(line)
        is_error = record.levelno >= logging.ERROR or record.exc_info
        if is_error and not EXPECTED.search(record.getMessage()):
            self.unexpected.append(line)

    def note(self, text: str) -> None:
        """Add a line of the world's own, e.g. a fault."""
        self.lines.append(f"{self._scheduler.now:10.4f} {'*':12} {text}")

"""Bound what is logged: clients and failures can cause any number of records. Used by a filter in `LOGGING`."""

import logging
import time

from realtime.observability import metrics

MAX_PER_MINUTE = 100
"""Most records that one statement of the code logs in a minute."""
MAX_CHARACTERS = 4_000
"""Most characters of a message. Its trace comes on top."""


class LogLimit(logging.Filter):
    """Drops the records of a statement that logs too often, and says with its next record how many were dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._statements: dict[tuple[str, int], _Statement] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        where = record.pathname, record.lineno  # as many as there are statements: no client adds to them
        statement = self._statements.setdefault(where, _Statement())
        if not statement.has_room():
            statement.dropped += 1
            metrics.log_records_dropped.inc()
            return False
        try:
            message = record.getMessage()
        except Exception:  # the arguments don't fit: the handler reports that, a filter would raise it in the caller
            return True
        if len(message) > MAX_CHARACTERS:
            message = f"{message[:MAX_CHARACTERS]}… ({len(message)} characters)"
            record.msg, record.args = message, ()
        if statement.dropped:
            record.msg, record.args = f"{message} (before it, {statement.dropped} like it were not logged)", ()
            statement.dropped = 0
        return True


class _Statement:
    """A statement that logs: its records of this minute, and how many were dropped since the last one."""

    def __init__(self) -> None:
        self.dropped = 0
        self._minute = 0
        self._count = 0

    def has_room(self) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        return self._count <= MAX_PER_MINUTE

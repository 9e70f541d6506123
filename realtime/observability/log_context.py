"""Context of log records: the connection, user and trace of the current task. Used by a filter in `LOGGING`."""

import logging
from contextvars import ContextVar

connection_id: ContextVar[str] = ContextVar("connection_id", default="")
user_id: ContextVar[int] = ContextVar("user_id", default=0)
trace_id: ContextVar[str] = ContextVar("trace_id", default="")


class ConnectionFilter(logging.Filter):
    """Adds ``connection_id``, ``user_id`` and ``trace_id`` to a record, if they are known."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; return True, so that no record is dropped."""
        if connection := connection_id.get():
            record.connection_id = connection
        if user := user_id.get():
            record.user_id = str(user)  # many JSON parsers round 64-bit numbers
        if trace := trace_id.get():
            record.trace_id = trace
        return True

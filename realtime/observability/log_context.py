"""What every log line of a connection's task says besides its text: whose it is. For `LOGGING`'s filters."""

import logging
from contextvars import ContextVar

connection_id: ContextVar[str] = ContextVar("connection_id", default="")
user_id: ContextVar[int] = ContextVar("user_id", default=0)
trace_id: ContextVar[str] = ContextVar("trace_id", default="")


class ConnectionFilter(logging.Filter):
    """Adds ``connection_id``, ``user_id`` and ``trace_id`` to a record, where they are known."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes."""
        if connection := connection_id.get():
            record.connection_id = connection
        if user := user_id.get():
            record.user_id = str(user)  # a number of 64 bits isn't safe in JSON
        if trace := trace_id.get():
            record.trace_id = trace
        return True

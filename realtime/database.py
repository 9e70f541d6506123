"""Access the database from threads, and translate Django's errors into `DatabaseUnavailable`."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import (
    InterfaceError,
    OperationalError,
    ProgrammingError,
    close_old_connections,
    reset_queries,
)

from realtime.exceptions import DatabaseUnavailable


@contextmanager
def translated() -> Iterator[None]:
    """Raise our own error in place of Django's.

    Raises:
        DatabaseUnavailable: the database can't be reached, or its tables don't exist yet (PostgreSQL reports that as a
            ProgrammingError).
    """
    try:
        yield
    except (OperationalError, InterfaceError, ProgrammingError) as error:
        raise DatabaseUnavailable(f"the database is unavailable: {error}") from error


@contextmanager
def database_access() -> Iterator[None]:
    """Allow ORM calls from this thread; close its old connections before and after.

    Raises:
        DatabaseUnavailable: as `translated` does.
    """
    close_old_connections()
    try:
        with translated():
            yield
    finally:
        reset_queries()  # with DEBUG, Django keeps the last 9,000 queries in memory
        close_old_connections()

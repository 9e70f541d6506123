"""Access the database from threads, and translate Django's errors into `DatabaseUnavailable`."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import (
    InterfaceError,
    InternalError,
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
        DatabaseUnavailable: the database can't be reached, has no space or connection left, takes no writes (PostgreSQL
            reports that as an InternalError), or its tables don't exist yet (there a ProgrammingError).
    """
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, ProgrammingError) as error:
        raise DatabaseUnavailable(f"the database is unavailable: {str(error).strip()}") from error


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

"""The database as it is used beside the event loop: from threads that come and go, by work that can wait for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, ProgrammingError, close_old_connections, reset_queries

from realtime.exceptions import TryLater


@contextmanager
def database_access() -> Iterator[None]:
    """In it a thread may use the ORM.

    Raises:
        TryLater: the database is away, or its tables aren't there yet (PostgreSQL says so by a ProgrammingError).
    """
    close_old_connections()
    try:
        yield
    except (OperationalError, InterfaceError, ProgrammingError) as error:
        raise TryLater(f"the database is away: {error}") from error
    finally:
        reset_queries()  # with DEBUG each of the last 9,000 would be kept, with all that it wrote
        close_old_connections()

"""The database of a world: SQLite in memory, with the real models. It can be away for a while."""

import os
from collections.abc import Callable
from types import SimpleNamespace

from django.db import OperationalError, connection, connections

from realtime import database, models

MODELS = (
    models.ConnectionRecord, models.RelayCursor, models.Revocation, models.RevocationNumber,
)  # fmt: skip


def create() -> None:
    """Create the tables. The process has to run with ``DATABASE_URL=sqlite://:memory:``."""
    if connection.settings_dict["NAME"] not in (":memory:", "file::memory:"):
        raise RuntimeError(f"a world's database is in memory, not {connection.settings_dict['NAME']}")
    setattr(connections, "_connections", SimpleNamespace())  # noqa: B010  # one for all loops; it has no such type
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # the world has one thread, and this database never waits
    existing = connection.introspection.table_names()
    with connection.schema_editor() as editor:
        for model in MODELS:
            if model._meta.db_table not in existing:
                editor.create_model(model)
    setattr(database, "close_old_connections", _nothing)  # noqa: B010  # it is never closed


def leave() -> Callable[[], None]:
    """Let the database be unavailable until the returned function is called."""
    connection.execute_wrappers.append(_refuse)
    return lambda: connection.execute_wrappers.remove(_refuse)


def _refuse(*_: object) -> None:
    raise OperationalError("the database of the world is away")


def _nothing(**_: object) -> None:
    return

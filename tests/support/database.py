"""Give each stack its database: SQLite, or the PostgreSQL that `DATABASE_URL` names (`make test-postgres`)."""

import atexit
import functools
import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

ON_POSTGRES = settings.DATABASES["default"]["ENGINE"].endswith("postgresql")
_numbers = itertools.count(1)
_kept: set[bool] = set()
"""The existing templates: with the demo, without it."""


def fresh_database() -> str:
    """Return the URL of an empty database on the tests' server; empty for SQLite."""
    if not ON_POSTGRES:
        return ""
    url = os.environ["DATABASE_URL"]
    name = f"stack_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"{url.rpartition('/')[0]}/{name}"


def keep_template(url: str, folder: Path, *, demo: bool) -> None:
    """Keep a copy of a stack's unused database for `copy_template`, if it is of the kind the tests run on."""
    if bool(url) != ON_POSTGRES:
        return
    if ON_POSTGRES:
        _create(f"template_{os.getpid()}_{demo:d}", url.rpartition("/")[2])
    elif not _sqlite_template(demo).exists():
        source, target = (sqlite3.connect(path) for path in (folder / "db.sqlite3", _sqlite_template(demo)))
        with closing(source), closing(target):
            source.backup(target)
    _kept.add(demo)


def copy_template(url: str, folder: Path, *, demo: bool) -> bool:
    """Replace a stack's database by the kept copy; return False if there is none."""
    if demo not in _kept or bool(url) != ON_POSTGRES:
        return False
    if ON_POSTGRES:
        _create(url.rpartition("/")[2], f"template_{os.getpid()}_{demo:d}")
    else:
        shutil.copy(_sqlite_template(demo), folder / "db.sqlite3")
    return True


def _create(name: str, template: str) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())


def _sqlite_template(demo: bool) -> Path:
    return _templates() / f"{demo:d}.sqlite3"


@functools.cache
def _templates() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="chatws-databases-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def query(url: str, folder: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement in a stack's database; its placeholders are ``%s``."""
    if url.startswith("postgres"):
        with psycopg.connect(url) as connection:
            cursor = connection.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(folder / "db.sqlite3", timeout=20)) as database, database:
        return database.execute(sql.replace("%s", "?"), values).fetchall()


@contextmanager
def group_locked(url: str, folder: Path, group_id: str) -> Iterator[None]:
    """Block other writers of a chat group; on SQLite, which has one writer, block all writes."""
    if url.startswith("postgres"):
        with psycopg.connect(url) as connection:
            connection.execute("SELECT 1 FROM reference_chatgroup WHERE group_id = %s FOR UPDATE", [group_id])
            yield
        return
    with closing(sqlite3.connect(folder / "db.sqlite3", timeout=20, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")

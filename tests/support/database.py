"""The database that the tests run on: SQLite, or the PostgreSQL that `DATABASE_URL` names (`make test-postgres`)."""

import itertools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

ON_POSTGRES = settings.DATABASES["default"]["ENGINE"].endswith("postgresql")
_numbers = itertools.count(1)


def fresh_database() -> str:
    """The URL of a database that has nothing in it, on the server that the tests run on; empty for SQLite."""
    if not ON_POSTGRES:
        return ""
    url = os.environ["DATABASE_URL"]
    name = f"stack_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"{url.rpartition('/')[0]}/{name}"


def query(url: str, folder: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows of a statement, whose places are ``%s``, in the database of a stack."""
    if url.startswith("postgres"):
        with psycopg.connect(url) as connection:
            cursor = connection.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(folder / "db.sqlite3", timeout=20)) as database, database:
        return database.execute(sql.replace("%s", "?"), values).fetchall()


@contextmanager
def group_locked(url: str, folder: Path, group_id: str) -> Iterator[None]:
    """In it nobody else can write to a chat group; on SQLite, which has one writer, to nothing."""
    if url.startswith("postgres"):
        with psycopg.connect(url) as connection:
            connection.execute("SELECT 1 FROM reference_chatgroup WHERE group_id = %s FOR UPDATE", [group_id])
            yield
        return
    with closing(sqlite3.connect(folder / "db.sqlite3", timeout=20, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")

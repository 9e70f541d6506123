"""The tables of the twin's database and its connections."""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

TABLES = """
CREATE TABLE IF NOT EXISTS chat_group (
    id INTEGER PRIMARY KEY, group_id TEXT UNIQUE, activity_id INTEGER UNIQUE, name TEXT, owner_id TEXT, status INTEGER,
    max_members INTEGER, cover_url TEXT, created_at INTEGER);
CREATE TABLE IF NOT EXISTS member (
    id INTEGER PRIMARY KEY, group_id TEXT, user_id TEXT, role INTEGER, is_in INTEGER, joined_at INTEGER,
    UNIQUE (group_id, user_id));
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, message_id TEXT UNIQUE, group_id TEXT, sender_id TEXT, msg_type INTEGER, content TEXT,
    image_url TEXT, created_at INTEGER);
CREATE INDEX IF NOT EXISTS message_group ON message (group_id, created_at);
CREATE TABLE IF NOT EXISTS notification (
    id INTEGER PRIMARY KEY, notification_id TEXT UNIQUE, user_id TEXT, type TEXT, title TEXT, content TEXT,
    is_read INTEGER, created_at INTEGER);
CREATE TABLE IF NOT EXISTS person (user_id TEXT PRIMARY KEY, name TEXT, avatar TEXT);
CREATE TABLE IF NOT EXISTS position (topic TEXT PRIMARY KEY, entry_id TEXT);
"""


class Failure(Exception):
    """The chat service's error for every failure."""


class Database:
    """An SQLite database that several threads use. A method raises `Failure` where a statement fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.executescript(TABLES)
        self.now: int | None = None
        """The twin's time, if it was set."""

    @property
    def _database(self) -> sqlite3.Connection:
        """Return this thread's own connection: threads that share one share its statements and mix up values."""
        if not hasattr(self._here, "database"):
            self._here.database = sqlite3.connect(self._path, 30, isolation_level=None, check_same_thread=False)
            self._here.database.create_function("this_second", 0, self._time)  # read once no other thread writes
            self._opened.append(self._here.database)
        database: sqlite3.Connection = self._here.database
        return database

    def close(self) -> None:
        for database in self._opened:
            database.close()

    def _time(self) -> int:
        return int(time.time()) if self.now is None else self.now

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise Failure from error

    def _write(self, statement: str, *values: object) -> int:
        try:
            return self._database.execute(statement, values).rowcount
        except (sqlite3.Error, OverflowError) as error:
            raise Failure from error

"""Run the reference service's ORM code in threads, for its gRPC servicer and its outbox."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import TypeVar

from django.db import connection

from realtime import database
from realtime.exceptions import DatabaseUnavailable

THREADS = 8
Answer = TypeVar("Answer")


class State:
    """What the last write showed."""

    write_problem = ""
    """Why the last write failed; empty if it succeeded. A full or read-only database still answers reads."""


async def read(use_case: Callable[..., Answer], *args: object) -> Answer:
    """Run a function that reads the database; raise `DatabaseUnavailable` if it can't be used."""
    return await _run(_readers(), use_case, *args)


async def write(use_case: Callable[..., Answer], *args: object) -> Answer:
    """Run a function that writes to the database; raise `DatabaseUnavailable` if it can't be written to.

    SQLite allows one writer at a time, and a waiting writer polls with growing pauses. So with SQLite one thread runs
    all writes, one directly after the other.
    """
    return await _run(_writers(), write_here, use_case, *args)


def write_here(use_case: Callable[..., Answer], *args: object) -> Answer:
    """Run a function that writes in this thread, and note whether the database takes writes."""
    try:
        with database.translated():
            answer = use_case(*args)
    except DatabaseUnavailable as error:
        State.write_problem = str(error)
        raise
    State.write_problem = ""
    return answer


async def _run(threads: ThreadPoolExecutor, use_case: Callable[..., Answer], *args: object) -> Answer:
    work = partial(copy_context().run, _in_thread, use_case, *args)  # keeps the call's span
    return await asyncio.get_running_loop().run_in_executor(threads, work)


def _in_thread(use_case: Callable[..., Answer], *args: object) -> Answer:
    with database.database_access():
        return use_case(*args)


def how_many_write() -> int:
    """Return how many writes run concurrently."""
    return 1 if connection.vendor == "sqlite" else THREADS


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="orm-read")


@cache
def _writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(how_many_write(), thread_name_prefix="orm-write")

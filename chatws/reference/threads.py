"""Run the reference service's ORM code in threads, for its gRPC servicer and its outbox."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import TypeVar

from django.db import close_old_connections, connection, reset_queries

THREADS = 8
Answer = TypeVar("Answer")


async def read(use_case: Callable[..., Answer], *args: object) -> Answer:
    """Run a function that reads the database."""
    return await _run(_readers(), use_case, *args)


async def write(use_case: Callable[..., Answer], *args: object) -> Answer:
    """Run a function that writes to the database.

    SQLite allows one writer at a time, and a waiting writer polls with growing pauses. So with SQLite one thread runs
    all writes, one directly after the other.
    """
    return await _run(_writers(), use_case, *args)


async def _run(threads: ThreadPoolExecutor, use_case: Callable[..., Answer], *args: object) -> Answer:
    work = partial(copy_context().run, _in_thread, use_case, *args)  # keeps the call's span
    return await asyncio.get_running_loop().run_in_executor(threads, work)


def _in_thread(use_case: Callable[..., Answer], *args: object) -> Answer:
    close_old_connections()
    try:
        return use_case(*args)
    finally:
        reset_queries()  # with DEBUG, Django keeps them in memory
        close_old_connections()


def how_many_write() -> int:
    """Return how many writes run concurrently."""
    return 1 if connection.vendor == "sqlite" else THREADS


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="orm-read")


@cache
def _writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(how_many_write(), thread_name_prefix="orm-write")

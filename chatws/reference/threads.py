"""The threads in which the reference service's ORM works; gRPC and the outbox hand their use cases over here."""

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
    """Run what reads the database."""
    return await _run(_readers(), use_case, *args)


async def write(use_case: Callable[..., Answer], *args: object) -> Answer:
    """Run what writes to the database.

    SQLite has one writer at a time, and who waits for it sleeps ever longer: there, our queue hands it on at once.
    """
    return await _run(_writers(), use_case, *args)


async def _run(threads: ThreadPoolExecutor, use_case: Callable[..., Answer], *args: object) -> Answer:
    work = partial(copy_context().run, _in_thread, use_case, *args)  # in the span of the call
    return await asyncio.get_running_loop().run_in_executor(threads, work)


def _in_thread(use_case: Callable[..., Answer], *args: object) -> Answer:
    close_old_connections()
    try:
        return use_case(*args)
    finally:
        reset_queries()  # which DEBUG would keep
        close_old_connections()


def how_many_write() -> int:
    """How many `write` at once; the rest waits."""
    return 1 if connection.vendor == "sqlite" else THREADS


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="orm-read")


@cache
def _writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(how_many_write(), thread_name_prefix="orm-write")

"""Start and end asyncio tasks; every task has a name, under which its failure is logged.

Use `supervise` for work that runs as long as the process, `spawn` for work that ends by itself, and `start` for work
with a result that a caller awaits.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any, TypeVar

from realtime.aio.backoff import Backoff
from realtime.observability import metrics

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
HEALTHY_SECONDS = 60.0
"""Work that ran this long counts as recovered: after its next failure the wait is `FIRST_WAIT` again."""

T = TypeVar("T")


def supervise(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
    """Start a task that runs ``work`` and restarts it after any failure, with a growing wait, until it returns.

    Each failure is logged and counted under ``name``. The name is a metric's label, so use few different names.
    """
    return spawn(_supervised(work, name), name)


async def _supervised(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    loop, backoff = asyncio.get_running_loop(), Backoff(FIRST_WAIT, LONGEST_WAIT)
    while True:
        began = loop.time()
        try:
            await work()
        except (Exception, asyncio.CancelledError) as error:  # it supervises: nothing may end the work
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            if loop.time() - began >= HEALTHY_SECONDS:
                backoff.reset()
            metrics.task_failures.labels(name).inc()
            logger.error("%s failed, restarting in %.1f s", name, backoff.wait, exc_info=error)
        else:
            return
        await asyncio.sleep(backoff.take())


def start(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start a task whose caller awaits the result or the error; an error that nobody awaits is dropped."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return task


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a task in the running loop; its failure is logged under its name.

    It runs in an empty context. The caller's context would make it log the ids of one connection or request, and use
    asgiref threads that end with that request.
    """
    task = asyncio.get_running_loop().create_task(work, name=name, context=Context())
    task.add_done_callback(_report)
    return task


class Group:
    """Tasks that are ended together: by `end`, or at the end of ``async with``."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Group":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task of the group; see `tasks.spawn`."""
        return self._add(spawn(work, name))

    def supervise(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Start a supervised task of the group; see `tasks.supervise`."""
        return self._add(supervise(work, name))

    def _add(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self) -> None:
        """Cancel every task of the group and wait until all have ended."""
        await end(self._tasks)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end; repeat the cancellation, because redis-py sometimes swallows it."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.2)


def is_cancelled() -> bool:
    """Return whether the current task was cancelled; if not, a CancelledError in it comes from elsewhere."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("%s failed", task.get_name(), exc_info=error)

"""The two kinds of `asyncio.wait_for`: Python 3.11 waits for a task of its own, later ones wait in the caller's.

They take different numbers of turns, and end differently when they are cancelled. A world uses one of them, whichever
Python runs it: the same seed is then the same world on each, and each finds what only the other kind would break.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def wait_in_a_task(work: Awaitable[Answer], timeout: float | None) -> Answer:
    """Wait as Python 3.11: a cancellation that comes together with the answer is swallowed.

    Raises:
        TimeoutError: there was no answer within ``timeout`` seconds.
    """
    if timeout is None:
        return await work
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake(_: Any) -> None:
        if not ready.done():
            ready.set_result(None)

    timer = loop.call_later(timeout, wake, None)
    task: asyncio.Future[Answer] = asyncio.ensure_future(work)
    task.add_done_callback(wake)
    try:
        try:
            await ready
        except asyncio.CancelledError:
            if not task.done():
                await _end(task, wake)
                raise
        if task.done():
            return task.result()
        await _end(task, wake)
        try:
            return task.result()
        except asyncio.CancelledError as error:
            raise TimeoutError from error
    finally:
        timer.cancel()


async def wait_here(work: Awaitable[Answer], timeout: float | None) -> Answer:
    """Wait as Python 3.12 and later.

    Raises:
        TimeoutError: there was no answer within ``timeout`` seconds.
    """
    async with asyncio.timeout(timeout):
        return await work


async def _end(task: "asyncio.Future[Any]", wake: Any) -> None:
    """Cancel a task and wait for its end."""
    task.remove_done_callback(wake)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: Any) -> None:
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(end)
    try:
        task.cancel()
        await ended
    finally:
        task.remove_done_callback(end)

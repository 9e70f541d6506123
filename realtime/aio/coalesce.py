"""Coalesce requests: those that come during a run cause one more run, those of one loop turn share one call."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from realtime.aio import tasks
from realtime.exceptions import TransientError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Rerun:
    """Background work that runs again if it was requested while it ran, so that no wake-up is lost.

    A failure is logged under its name; later requests run the work again.
    """

    __slots__ = ("_name", "_wanted", "_work", "task")

    def __init__(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        self._work = work
        self._name = name
        self._wanted = False
        self.task: asyncio.Task[None] | None = None
        """The current run."""

    def ask(self) -> None:
        """Run the work, or run it once more after the current run."""
        self._wanted = True
        if self.task is None:
            self.task = tasks.spawn(self._run(), self._name)

    def cancel(self) -> None:
        """Cancel the current run."""
        if self.task is not None:
            self.task.cancel()

    async def _run(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                try:
                    await self._work()
                except (Exception, asyncio.CancelledError) as error:  # it supervises: a later request runs it again
                    if isinstance(error, asyncio.CancelledError) and tasks.is_cancelled():
                        raise
                    logger.error("%s failed", self._name, exc_info=error)
        finally:
            self.task = None


class TurnBatch(Generic[Item, Answer]):
    """Gathers what is asked in one turn of the event loop, and answers all of it by one call of ``answer_all``.

    ``answer_all`` gets the items and returns an answer for each, in their order. What it raises, every caller gets.
    """

    def __init__(self, answer_all: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], name: str) -> None:
        self._answer_all = answer_all
        self._name = name
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []

    async def ask(self, item: Item) -> Answer:
        """Return the answer for one item."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._start)
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((item, answer))
        return await answer

    def _start(self) -> None:
        waiting, self._waiting = self._waiting, []
        tasks.spawn(self._answer(waiting), self._name)

    async def _answer(self, waiting: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._answer_all([item for item, _ in waiting])
            if len(answers) != len(waiting):
                raise ValueError(f"{self._name}: {len(answers)} answers for {len(waiting)} items")
        except BaseException as error:  # passed on to the callers, also where this task is cancelled
            is_cancelled = not isinstance(error, Exception)
            for _, future in waiting:
                if not future.done():
                    future.set_exception(TransientError(f"{self._name} was cancelled") if is_cancelled else error)
                    future.exception()  # its caller may have been cancelled
            if is_cancelled:
                raise
            return
        for (_, future), answer in zip(waiting, answers, strict=True):
            if not future.done():
                future.set_result(answer)

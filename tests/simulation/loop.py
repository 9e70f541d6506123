"""An event loop without input and output: its time is virtual, its connections are simulated, its threads are not."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.scheduler import Event, Scheduler

if TYPE_CHECKING:
    from tests.simulation.process import Process

THREAD_SECONDS = 0.002
"""How long a call in a thread takes: the loop goes on meanwhile."""


class Task(asyncio.Task[Any]):
    """A task whose hash is its number: a set of tasks has the same order in each run."""

    _numbers = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        Task._numbers += 1
        self._number = Task._numbers
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class Timer(asyncio.TimerHandle):
    """A timer that leaves the world's events when it is cancelled."""

    __slots__ = ("event",)

    event: Event

    def cancel(self) -> None:
        if not self._cancelled:
            self.event.call = None
            self._cancelled = True
            self._callback, self._args = None, ()


class Loop(asyncio.BaseEventLoop):
    """The loop of one process. It is run by the world's scheduler.

    Callbacks run in the order in which they were registered, as asyncio promises. In a ``shuffled`` loop the callbacks
    of different tasks that are ready in one turn run in a drawn order; those of one task, and plain callbacks among
    themselves, keep theirs. ``turn_seconds``: how long each turn takes, so that something may arrive between two.
    """

    def __init__(
        self, scheduler: Scheduler, process: "Process", *, shuffled: bool = False, turn_seconds: float = 0.0
    ) -> None:
        super().__init__()
        self.turn_seconds = turn_seconds
        self.scheduler = scheduler
        self.process = process
        self._ready: deque[asyncio.Handle] = deque()
        self._order: random.Random | None = scheduler.draws(f"order of {process.name}") if shuffled else None
        self._has_work = False
        self._signals: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self.set_task_factory(lambda loop, coro, **kwargs: Task(coro, loop=loop, **kwargs))

    # Time and turns

    def time(self) -> float:
        return self.scheduler.now

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        if not self._has_work:
            self.wake()
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        timer = Timer(when, callback, args, self, context)
        timer.event = self.scheduler.at(when, self._timer_due, timer)
        return timer

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _timer_due(self, timer: Timer) -> None:
        if self.process.is_alive and not timer._cancelled:
            self._ready.append(timer)
            self.wake()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer has left the world's events."""

    def wake(self) -> None:
        """Have the ready callbacks run, unless the process is paused or dead."""
        if not self._has_work and self._ready and self.process.runs:
            self._has_work = True
            self.scheduler.has_work(self)

    def next_turn(self) -> None:
        """Go on after the time that the last turn took."""
        self.scheduler.has_work(self)

    def take_ready(self) -> list[asyncio.Handle]:
        """Return the callbacks of one turn, in the order in which they are to run."""
        if not self.process.runs:
            self._has_work = False
            return []
        batch: list[asyncio.Handle] = list(self._ready)
        self._ready.clear()
        self._has_work = bool(batch)
        if self._order is not None and len(batch) > 1:
            return _drawn(batch, self._order)
        return batch

    # What a process asks of its machine

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int, **options: Any
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        return await self.process.connect(protocol_factory, host, port)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run a function in no thread: at once, with its result a moment later."""
        answer: asyncio.Future[Any] = self.create_future()

        def run() -> None:
            if answer.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:  # a boundary: the caller gets it
                answer.set_exception(error)
            else:
                answer.set_result(result)

        self.call_later(THREAD_SECONDS, run)
        return answer

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        self._signals[sig] = (callback, args)

    def signal(self, number: int) -> None:
        """Deliver a signal to the process; without a handler yet it ends the process."""
        if number in self._signals:
            callback, args = self._signals[number]
            self.call_soon(callback, *args)
        else:
            self.process.kill()

    def close(self) -> None:
        """Do nothing: a process ends by `Process.kill`."""

    def __del__(self) -> None:
        """Do not warn: a world's loops are never closed."""


def _drawn(batch: list[asyncio.Handle], order: random.Random) -> list[asyncio.Handle]:
    """Return the callbacks in a drawn order that keeps the order of each owner's: of a task, of all plain ones."""
    by_owner: dict[object, list[asyncio.Handle]] = {}
    owners: list[object] = []
    for handle in batch:
        owner = getattr(getattr(handle, "_callback", None), "__self__", None)
        owner = owner if isinstance(owner, Task) else None
        by_owner.setdefault(owner, []).append(handle)
        owners.append(owner)
    if len(by_owner) == 1:
        return batch
    order.shuffle(owners)
    queues = {owner: iter(handles) for owner, handles in by_owner.items()}
    return [next(queues[owner]) for owner in owners]

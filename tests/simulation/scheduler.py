"""Run the processes of a world on one virtual clock: time jumps to the next event, and events run in a fixed order."""

import hashlib
import heapq
import itertools
import random
from asyncio import events as asyncio_events
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.loop import Loop

MAX_CALLBACKS = 200_000
"""Callbacks of one process at one moment. A process that runs more never waits, and would stop the world."""
START = 1_800_000_000.0
"""The world begins at this time, in Unix seconds."""


class Event:
    """A call that is due at a moment. `cancel` keeps it from running."""

    __slots__ = ("args", "call")

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.call: Callable[..., object] | None = call
        self.args = args

    def cancel(self) -> None:
        self.call = None


class Scheduler:
    """The clock of a world and the order of its events.

    ``now`` is in seconds since the world began. Events of one moment run in the order in which they were scheduled.
    Whatever is drawn comes from ``seed``, each draw from the stream of a name (`draws`), so that one part of the world
    does not change what another part draws.
    """

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self.now = 0.0
        self.running: Loop | None = None
        """The process whose code runs now; None for the world's own."""
        self.graveyard: list[object] = []
        """What killed processes held: if it were freed, their `finally` blocks would run."""
        self._events: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()
        self._runnable: list[Loop] = []
        self._traces: dict[str, hashlib.blake2b] = {}

    @property
    def digest(self) -> str:
        """Return a hash of everything that was recorded: what crossed each link, and when.

        What crosses different links at the very same moment has no order.
        """
        whole = hashlib.blake2b(digest_size=16)
        for name, trace in sorted(self._traces.items()):
            whole.update(name.encode() + trace.digest())
        return whole.hexdigest()

    def record(self, link: str, data: object) -> None:
        """Add what a link carries now to the digest."""
        trace = self._traces.get(link)
        if trace is None:
            trace = self._traces[link] = hashlib.blake2b(digest_size=16)
        trace.update(b"%r " % self.now + (data if isinstance(data, bytes) else repr(data).encode()))

    def draws(self, name: str) -> random.Random:
        """Return the random numbers of this name."""
        return random.Random(f"{self.seed}:{name}")

    def at(self, when: float, call: Callable[..., object], *args: Any) -> Event:
        """Call at a moment; at once if it has passed."""
        event = Event(call, args)
        heapq.heappush(self._events, (when if when > self.now else self.now, next(self._numbers), event))
        return event

    def after(self, seconds: float, call: Callable[..., object], *args: Any) -> Event:
        """Call after so many seconds."""
        return self.at(self.now + seconds, call, *args)

    def timers_of(self, loop: "Loop") -> list[Any]:
        """Return the timers of a process that are not due yet."""
        due = loop._timer_due
        return [event.args[0] for _, _, event in self._events if event.call is not None and event.call == due]

    def has_work(self, loop: "Loop") -> None:
        """Note that a process has callbacks to run."""
        self._runnable.append(loop)

    def run(self, until: float) -> None:
        """Run everything that is due up to a moment, and stop there."""
        heap = self._events
        self._run_processes()
        while heap and heap[0][0] <= until:
            self.now, _, event = heapq.heappop(heap)
            if event.call is not None:
                event.call(*event.args)
                if self._runnable:
                    self._run_processes()
        self.now = max(self.now, until)

    def _run_processes(self) -> None:
        while self._runnable:
            runnable, self._runnable = self._runnable, []
            for loop in runnable:
                self._run_process(loop)

    def _run_process(self, loop: "Loop") -> None:
        """Run a process until it waits, or for one turn if its turns take time."""
        before, self.running = self.running, loop
        asyncio_events._set_running_loop(loop)
        try:
            left = MAX_CALLBACKS
            while batch := loop.take_ready():
                left -= len(batch)
                if left < 0:
                    raise RuntimeError(f"{loop.process.name} never waits: {batch[0]!r}")
                for handle in batch:
                    if not handle._cancelled:
                        handle._run()
                if loop.turn_seconds:
                    self.after(loop.turn_seconds, loop.next_turn)
                    return
        finally:
            asyncio_events._set_running_loop(None)
            self.running = before

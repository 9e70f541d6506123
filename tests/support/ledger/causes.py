"""Faults as causes: each has a kind and an interval in which it acted, and excuses nothing outside of it."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

Clock = Callable[[], float]
CALM_SECONDS = 2.0
"""Seconds in which a message reaches a connected reader while nothing is broken."""
CONNECT_SECONDS = 5.0
"""Seconds in which a reader is connected again while nothing is broken."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault can do. Only what is set here is permitted to it.

    ``budget``: seconds after its end in which deliveries are late no more; ``connect``: the same for a reader that has
    to connect again. ``loses``: it may lose publications of a feed; ``unnoticed``: for so many seconds a gateway may
    not know of that, and a reader that subscribes meanwhile gets its position from before. ``forgets``: it deletes the
    record of published messages, so that a repeated send is published again. ``repeats``: Redis is as it was some time
    before, the relay's cursor as well, so that what was delivered since is delivered again, behind a notice.
    ``turns_clock``: it changes what time a service notes. ``hides``: users may be shown as offline although they are
    connected. ``refuses``: a frame may be answered with 503 because of it. ``skips``: a reader may receive a
    publication and not the one before it; it has to connect again then.
    """

    name: str
    budget: float = CALM_SECONDS
    connect: float = CONNECT_SECONDS
    loses: bool = False
    unnoticed: float = 0.0
    forgets: bool = False
    repeats: bool = False
    turns_clock: bool = False
    hides: bool = False
    refuses: bool = True
    skips: bool = False


@dataclass(slots=True, eq=False)
class Cause:
    """A fault that acts from ``began`` to ``ended`` (seconds of the ledger's clock; infinite while it acts).

    ``feed``: the only feed that it breaks, empty for all. ``readers``: the names of the only readers, None for all.
    """

    kind: Kind
    began: float
    ended: float = inf
    feed: str = ""
    readers: frozenset[str] | None = None

    def acted(self, since: float, until: float) -> bool:
        """Return whether it acted between these times, both included."""
        return self.began <= until and self.ended >= since

    def concerns(self, reader: str, feed: str = "") -> bool:
        """Return whether it breaks this reader, and this feed if one is given."""
        return (self.readers is None or reader in self.readers) and (not feed or self.feed in ("", feed))


class Causes:
    """All faults of a run, in the order in which they began."""

    def __init__(self, clock: Clock) -> None:
        self.all: list[Cause] = []
        self._clock = clock

    def begin(self, kind: Kind, *, feed: str = "", readers: Collection[str] | None = None) -> Cause:
        """Record that a fault begins now; `end` has to follow."""
        names = None if readers is None else frozenset(readers)
        cause = Cause(kind, self._clock(), feed=feed, readers=names)
        self.all.append(cause)
        return cause

    def end(self, cause: Cause) -> None:
        """Record that a fault ends now."""
        cause.ended = self._clock()

    @contextmanager
    def during(self, kind: Kind, *, feed: str = "", readers: Collection[str] | None = None) -> Iterator[Cause]:
        """Record a fault that acts during the block."""
        cause = self.begin(kind, feed=feed, readers=readers)
        try:
            yield cause
        finally:
            self.end(cause)

    @property
    def open(self) -> list[Cause]:
        """Return the faults that have not ended."""
        return [cause for cause in self.all if cause.ended == inf]

    def losing(self, reader: str, feed: str) -> list[Cause]:
        """Return the faults that may have lost publications of a feed to a reader, by their end."""
        found = [cause for cause in self.all if cause.kind.loses and cause.concerns(reader, feed)]
        return sorted(found, key=lambda cause: cause.ended)

    def forgetting(self, since: float, until: float) -> list[Cause]:
        """Return the faults that deleted the record of published messages between these times."""
        return [cause for cause in self.all if cause.kind.forgets and cause.acted(since, until)]

    def repeating(self, since: float, until: float) -> list[Cause]:
        """Return the faults after which what was delivered at ``since`` may be delivered again until then."""
        return [cause for cause in self.all if cause.kind.repeats and cause.acted(since, until)]

    def skips(self, reader: str, now: float) -> bool:
        """Return whether a publication to this reader may be lost on the way now."""
        return any(cause.kind.skips and cause.concerns(reader) and cause.acted(now, now) for cause in self.all)

    def turned_clock(self, since: float, until: float) -> bool:
        """Return whether a clock was wrong between these times."""
        return any(cause.kind.turns_clock and cause.acted(since, until) for cause in self.all)


class Timeline:
    """When everything is well again, for one reader: the effects of faults, each from its begin to its end and budget.

    Effects that overlap are one: a fault that begins before another's effect has ended extends it.
    """

    def __init__(self, effects: Iterable[tuple[float, float]]) -> None:
        self._begins: list[float] = []
        self._ends: list[float] = []
        for began, until in sorted(effects):
            if self._ends and began <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], until)
            else:
                self._begins.append(began)
                self._ends.append(until)

    def due(self, start: float, seconds: float) -> float:
        """Return when something that starts now and takes so many seconds is due, with the faults on the way."""
        due = start + seconds
        index = bisect_right(self._begins, due) - 1
        if index >= 0 and self._ends[index] >= start:
            return max(due, self._ends[index])
        return due

"""Track a client's position in each feed, and classify publications by theirs (docs/protocol.md, Feeds).

This module does no I/O: the client passes it the positions from the server's frames.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

KNOWN_IDS = 10_000
MAX_POSITIONS = 1_000
"""Most positions that are kept beside those of the connection's own feeds."""
RESUMED_FEEDS = 400
"""Most feeds in one `auth`."""


@dataclass(frozen=True, slots=True)
class Position:
    """The epoch and offset of the last publication of a feed that the client has."""

    epoch: str
    offset: int


class Step(Enum):
    """What a publication is to the client, by its offset."""

    NEXT = "next"
    KNOWN = "known"
    """The next one by its offset, but its id was delivered before."""
    REPEAT = "repeat"
    GAP = "gap"
    """Publications before it are missing; the client has to resume from its own position."""


class Positions:
    """The positions of one client in all its feeds."""

    def __init__(self, positions: Mapping[str, Position] | None = None) -> None:
        self._positions = {feed: at for feed, at in (positions or {}).items() if _is_position(at)}
        """In the order of their last change."""
        self._ids: OrderedDict[str, None] = OrderedDict()

    def all(self) -> dict[str, Position]:
        """Return every feed's position, for the next client of the same user."""
        return dict(self._positions)

    def resume(self) -> dict[str, dict[str, Any]]:
        """Return the value of ``resume`` for `auth`: the positions that changed last."""
        last = list(self._positions.items())[-RESUMED_FEEDS:]
        return {feed: {"epoch": position.epoch, "offset": position.offset} for feed, position in last}

    def get(self, feed: str) -> Position | None:
        """Return the client's position in a feed; None for an unknown feed."""
        return self._positions.get(feed)

    def report(self, feed: str, epoch: str, offset: int, recovered: bool | None) -> bool:
        """Take a feed's position from the server; return whether publications were lost.

        If ``recovered`` is true, the missed publications follow, and the client's position stays. Otherwise the client
        takes the server's position; publications were lost if its own was another. A loss is reported once: the second
        report of the same position is none.
        """
        before, position = self._positions.get(feed), Position(epoch, offset)
        if recovered and before is not None:
            return False
        self._move(feed, position)
        return recovered is False if before is None else before != position

    def prune(self, own: set[str]) -> None:
        """Forget the oldest of too many positions, except those of the connection's ``own`` feeds."""
        others = [feed for feed in self._positions if feed not in own]
        for feed in others[:-MAX_POSITIONS]:
            del self._positions[feed]

    def step(self, feed: str, epoch: str, offset: int, publication_id: str) -> Step:
        """Classify a publication, and advance the position if it is the next; an empty id is not compared."""
        position = self._positions.get(feed)
        if position is None or position.epoch != epoch or offset > position.offset + 1:
            return Step.GAP
        if offset <= position.offset:
            return Step.REPEAT
        self._move(feed, Position(epoch, offset))
        return Step.NEXT if not publication_id or self.is_new(publication_id) else Step.KNOWN

    def is_new(self, publication_id: str) -> bool:
        """Return whether this id is new, and remember it."""
        known = publication_id in self._ids
        self._ids[publication_id] = None
        self._ids.move_to_end(publication_id)
        if len(self._ids) > KNOWN_IDS:
            self._ids.popitem(last=False)
        return not known

    def _move(self, feed: str, position: Position) -> None:
        self._positions.pop(feed, None)
        self._positions[feed] = position


def _is_position(value: object) -> bool:
    """Return whether saved content is a position; what a program saved may have been damaged."""
    return isinstance(value, Position) and isinstance(value.epoch, str) and isinstance(value.offset, int)

"""Where a client stands in each feed, and what a frame's place means for it (docs/protocol.md, Feeds).

Without any input or output of its own: the client feeds it what the server says.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

KNOWN_IDS = 10_000
RESUMED_FEEDS = 400
"""As many as one `auth` takes."""


@dataclass(frozen=True, slots=True)
class Place:
    """The last epoch and offset of a feed that the client has."""

    epoch: str
    offset: int


class Step(Enum):
    """What a publication is to a client that stands at its place."""

    NEXT = "next"
    KNOWN = "known"
    """The next one by its offset, with an id that was delivered before: nothing to show."""
    REPEAT = "repeat"
    GAP = "gap"
    """Something lies between: to be asked for by resuming from where the client stands."""


class Places:
    """The places of one client in all its feeds."""

    def __init__(self, places: Mapping[str, Place] | None = None) -> None:
        self._places: dict[str, Place] = dict(places or {})
        """What moved last stands last."""
        self._ids: OrderedDict[str, None] = OrderedDict()

    def all(self) -> dict[str, Place]:
        """Every feed's place, for the next client of the same user."""
        return dict(self._places)

    def resume(self) -> dict[str, dict[str, Any]]:
        """What `auth` carries as ``resume``: the places that moved last."""
        last = list(self._places.items())[-RESUMED_FEEDS:]
        return {feed: {"epoch": place.epoch, "offset": place.offset} for feed, place in last}

    def get(self, feed: str) -> Place | None:
        """Where the client stands in a feed; None if it never heard it."""
        return self._places.get(feed)

    def told(self, feed: str, epoch: str, offset: int, recovered: bool | None) -> bool:
        """The server says where a feed stands; whether something was lost to this client.

        ``recovered`` true: the tail follows from where the client stands. Else the client stands at the place told; it
        has lost something if it stood elsewhere before.
        """
        before, place = self._places.get(feed), Place(epoch, offset)
        if recovered and before is not None:
            return False
        self._move(feed, place)
        return recovered is False or before not in (None, place)

    def step(self, feed: str, epoch: str, offset: int, publication_id: str) -> Step:
        """Take a publication, if it is the next; its id is empty where it has none."""
        place = self._places.get(feed)
        if place is None or place.epoch != epoch or offset > place.offset + 1:
            return Step.GAP
        if offset <= place.offset:
            return Step.REPEAT
        self._move(feed, Place(epoch, offset))
        return Step.NEXT if not publication_id or self.is_new(publication_id) else Step.KNOWN

    def is_new(self, publication_id: str) -> bool:
        """Whether this id hasn't been seen yet; it has from now on."""
        known = publication_id in self._ids
        self._ids[publication_id] = None
        self._ids.move_to_end(publication_id)
        if len(self._ids) > KNOWN_IDS:
            self._ids.popitem(last=False)
        return not known

    def _move(self, feed: str, place: Place) -> None:
        self._places.pop(feed, None)
        self._places[feed] = place

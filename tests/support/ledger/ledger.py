"""The record of a run. `judge` compares it with the promises; see `losses`, `order` and `lateness` for their rules."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import inf

from tests.support.ledger import lateness, losses, members, order
from tests.support.ledger.causes import Cause, Causes, Clock, Kind
from tests.support.ledger.lateness import Late
from tests.support.ledger.members import Change
from tests.support.ledger.reader import Place, Reader


@dataclass(slots=True)
class Sent:
    """An acked message: when its sending began and when it was acked (the ledger's clock), and its chat group."""

    group_id: str
    began: float
    acked: float
    sender: str = ""


class Ledger:
    """``problems`` is empty while every promise is kept; ``late`` has what came, but too late.

    Args:
        clock: Seconds of a clock that never goes back.
        wall: Unix seconds.
        resumed: How many publications of a feed a reader may miss and still resume; a reader that missed more receives
            a notice without a fault.
        kept: How many publications a feed's log holds; a gateway that missed more resets the feed.
    """

    def __init__(
        self, clock: Clock = time.monotonic, wall: Clock = time.time, *, resumed: int = 256, kept: int = 1_000
    ) -> None:
        self.clock = clock
        self.wall = wall
        self.resumed = resumed
        self.kept = kept
        self.causes = Causes(clock)
        self.sent: dict[str, Sent] = {}
        self.readers: list[Reader] = []
        self.problems: list[str] = []
        self.late: list[Late] = []
        self.count: Counter[str] = Counter()
        """The number of findings of each kind, and of what was excused."""
        self.errors: Counter[int] = Counter()
        """The number of errors by code, after which clients sent a frame again."""
        self.changes: list[Change] = []
        """Calls that added members or removed them."""
        self.removals: dict[tuple[str, int], list[tuple[Place, float]]] = {}
        """Where in the chat group's feed a user was removed, and when that was first known."""
        self.repeats: list[tuple[Reader, str, Place, float]] = []
        self.abandoned: set[str] = set()
        """Messages whose sender finished for good before it had an ack."""
        self.published_again: Counter[str] = Counter()
        """How often a message was published again after Redis had forgotten its id, as is permitted."""
        self.first_delivered: dict[str, float] = {}
        """When any reader first received a message."""
        self._unnoticed: dict[tuple[str, str], list[range]] = {}
        """By feed and epoch: offsets that may be given to two publications without a notice."""
        self._known: dict[str, dict[Place, float]] = {}
        self._epochs: dict[str, dict[str, int]] = {}
        self._began: dict[str, float] = {}
        """When the sending of each message began, also of those that were taken out of ``sent``."""
        self._message_at: dict[tuple[str, Place], str] = {}
        self._places: dict[str, dict[Place, None]] = {}
        self._feed_of: dict[str, str] = {}

    # What the drivers of a run record

    def reader(self, name: str, user_id: int = 0) -> Reader:
        """Return a new reader; without a user id it is the number in its name."""
        digits = "".join(character for character in name if character.isdigit())
        reader = Reader(name, self, user_id or int(digits or 0))
        self.readers.append(reader)
        return reader

    def acked(self, message_id: str, group_id: str, began: float, sender: str = "") -> None:
        """Record a message that was acked now; the messages of a sender in their order."""
        if message_id in self.sent:
            self.found("lost", f"{sender}: two messages were acked with the id {message_id}")
        self.sent[message_id] = Sent(group_id, began, self.clock(), sender)
        self._began[message_id] = began

    def left_behind(self, message_id: str, group_id: str, stored: float) -> None:
        """Record a message that was stored and never acked: it is delivered as any other, at any time."""
        self.sent[message_id] = Sent(group_id, stored, inf, message_id)

    def fault(
        self, kind: Kind, *, feed: str = "", readers: Collection[str] | None = None
    ) -> AbstractContextManager[Cause]:
        """Record a fault that acts during the block; `causes` has `begin` and `end` for one that isn't a block."""
        return self.causes.during(kind, feed=feed, readers=readers)

    @contextmanager
    def adding(self, group_id: str, user_id: int) -> Iterator[None]:
        """Record that the block adds a member to a chat group, unless it raises an error."""
        change = self._change(group_id, user_id, is_in=True)
        yield
        change.ended = self.clock()

    @contextmanager
    def removing(self, group_id: str, user_id: int) -> Iterator[None]:
        """Record that the block removes a member from a chat group, unless it raises an error."""
        change = self._change(group_id, user_id, is_in=False)
        yield
        change.ended = self.clock()

    def _change(self, group_id: str, user_id: int, *, is_in: bool) -> Change:
        change = Change(group_id, user_id, is_in, self.clock())
        self.changes.append(change)
        return change

    def problem(self, text: str) -> None:
        """Record a broken promise."""
        self.problems.append(text)

    def found(self, what: str, text: str) -> None:
        """Count a broken promise by its kind, and record it."""
        self.count[what] += 1
        self.problem(text)

    def unnoticed(self, feed: str, at: Place) -> None:
        """Record that a feed lost what it had behind a position, and that nobody is left who can know of it.

        What is published there from now on, up to the last offset that any reader had, may be taken for what was lost:
        by who received that, and resumes.
        """
        epoch, offset = at
        last = max((known for its_epoch, known in self._known.get(feed, ()) if its_epoch == epoch), default=offset)
        self._unnoticed.setdefault((feed, epoch), []).append(range(offset + 1, last + 1))

    # What readers record

    def known(self, feed: str, at: Place) -> None:
        """Record that a feed has this position, the first time that a reader has it."""
        self._epochs.setdefault(feed, {}).setdefault(at[0], len(self._epochs[feed]))
        self._known.setdefault(feed, {}).setdefault(at, self.clock())

    def delivered(self, message_id: str, feed: str, at: Place) -> None:
        """Record the position of a message; a message that was published twice has several."""
        self._places.setdefault(message_id, {})[at] = None
        self.first_delivered.setdefault(message_id, self.clock())
        self._message_at[feed, at] = message_id
        self._feed_of[message_id] = feed

    def removed(self, group_id: str, user_id: int, at: Place) -> None:
        """Record a removal at this position of the chat group's feed."""
        places = self.removals.setdefault((group_id, user_id), [])
        if at not in (place for place, _ in places):
            places.append((at, self.clock()))

    def again(self, reader: Reader, message_id: str, at: Place) -> None:
        """Record a message that a reader receives again."""
        self.repeats.append((reader, message_id, at, self.clock()))

    # What the rules ask

    def rank(self, feed: str, at: Place) -> tuple[int, int]:
        """Return a position so that it compares with others of the feed: epochs in the order in which they appeared."""
        return self._epochs.get(feed, {}).get(at[0], -1), at[1]

    def places_of(self, message_id: str) -> list[Place]:
        """Return where a message was delivered to any reader."""
        return list(self._places.get(message_id, ()))

    def since(self, feed: str, at: Place) -> float:
        """Return from when on a feed can have had this position.

        That is when the sending of the message at it began; of anything else, when a reader first had it. What was on
        its way to a reader during a fault was published before it.
        """
        first = self._known.get(feed, {}).get(at, inf)
        return min(first, self._began.get(self._message_at.get((feed, at), ""), inf))

    def passed(self, feed: str, at: Place) -> float:
        """Return when a reader first had this position of a feed, or a later one of its epoch."""
        epoch, offset = at
        later = (when for place, when in self._known.get(feed, {}).items() if place[0] == epoch and place[1] >= offset)
        return min(later, default=inf)

    def since_message(self, feed: str, at: Place) -> float:
        """Return `since` of the last message of the epoch at or before a position; of the position if there is none."""
        epoch, offset = at
        before = (place for place in ((epoch, n) for n in range(offset, 0, -1)) if (feed, place) in self._message_at)
        return self.since(feed, next(before, at))

    def took_a_place(self, feed: str, at: Place) -> bool:
        """Return whether a publication may have taken the place of a lost one without a notice."""
        return any(at[1] in offsets for offsets in self._unnoticed.get((feed, at[0]), ()))

    def lost_its_place(self, message_id: str) -> bool:
        """Return whether another publication may have taken the place of a message without a notice."""
        feed = self._feed_of.get(message_id, "")
        return any(self.took_a_place(feed, place) for place in self.places_of(message_id))

    def missing(self, reader: Reader, groups: Sequence[str]) -> list[str]:
        """Return acked messages of these chat groups, of which the reader is a member all the time, that it neither
        received nor was rightly notified about."""
        return losses.missing(self, reader, frozenset(groups))

    # The verdict

    def judge(
        self, stored: Mapping[str, Sequence[str]], groups_of: Mapping[str, Sequence[str]], *, by_feed: bool = False
    ) -> None:
        """Compare what was acked, stored and received, once nothing is on its way any more.

        Args:
            stored: Message ids by chat group, in the database's order.
            groups_of: By reader, the chat groups of which it was a member from beginning to end.
            by_feed: The gateways publish. The order is then the feed's, in which each sender's messages have theirs.
        """
        for cause in self.causes.open:
            self.found("endless", f"the fault {cause.kind.name!r} did not end: it would excuse everything after it")
        order.judge_history(self, stored)
        for reader in self.readers:
            groups = frozenset(groups_of.get(reader.name, ()))
            losses.judge(self, reader, groups)
            members.judge(self, reader, groups)
            lateness.judge(self, reader, groups)
            if not by_feed:
                order.judge_order(self, reader, stored)
        order.judge_repeats(self)
        if by_feed:
            order.judge_feeds(self)
            order.judge_unpublished(self, stored)
        members.judge_leaks(self)

    def judge_errors(self, stored_at: Mapping[str, int]) -> None:
        """Check that no sender received an error once its message was stored: when, in Unix seconds, by message."""
        order.judge_errors(self, stored_at)

    def judge_refusals(self) -> None:
        """Check that each frame that was answered with 503 had a fault shortly before; on a virtual clock."""
        order.judge_unavailable(self)

"""Record every acked message and every frame of every reader, and compare them.

Its checks are independent: it trusts neither the client module nor the server.
"""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

IN_FLIGHT_SECONDS = 1.0
Frame = Mapping[str, Any]
Place = tuple[str, int]


@dataclass(slots=True)
class Sent:
    """An acked message: the start of its sending, its chat group and its sender."""

    group_id: str
    began: float
    sender: str = ""
    began_at: float = 0.0
    """Unix seconds."""


@dataclass(slots=True)
class LossNotice:
    """The notice to a reader that a feed cannot be recovered."""

    reader: str
    feed: str
    at: float


@dataclass(slots=True)
class Loss:
    """A fault that may lose the publications of all feeds, or of one."""

    at: float
    feed: str = ""


class Reader:
    """One client's view: `observe` receives every frame from the socket."""

    def __init__(self, name: str, ledger: "Ledger") -> None:
        self.name = name
        self.places: dict[str, Place] = {}
        self.messages: dict[str, list[str]] = {}
        """Message ids by chat group, in order of arrival."""
        self.received: dict[str, list[Place]] = {}
        """The positions of the publications of each feed, in order of arrival."""
        self.seen: dict[str, float] = {}
        """The time at which each message was last received."""
        self.places_of: dict[str, Place] = {}
        """The position of each message."""
        self.acks: dict[str, str] = {}
        """The message id of each acked frame, by frame id."""
        self.errors: list[tuple[str, float]] = []
        """Frames answered by an error, with the time (Unix seconds)."""
        self.notices: list[LossNotice] = []
        self.recovered = 0
        self._noticed_at: dict[str, Place] = {}
        """The position in the last notice about each feed."""
        self._ledger = ledger

    def observe(self, frame: Frame) -> None:
        """Check one frame against all earlier ones."""
        kind = frame["type"]
        if "offset" in frame:
            self._publication(frame)
        elif kind == "auth_success":
            for place in frame["data"].get("feeds", ()):
                self._placed(place, "auth_success")
        elif kind in ("group_joined", "feed_reset"):
            self._placed(frame["data"], kind)
        elif kind == "error":
            self._ledger.errors[frame["data"]["code"]] += 1
            self.errors.append((frame.get("message_id", ""), time.time()))
        elif kind == "ack":
            self.acks[frame["message_id"]] = frame["data"]["message_id"]

    def _placed(self, place: Frame, kind: str) -> None:
        feed, at = place["feed"], (place["epoch"], place["offset"])
        before = self.places.get(feed)
        if place.get("recovered") is True:
            self.recovered += 1
            if before is None or before[0] != at[0] or before[1] > at[1]:
                self._ledger.problem(f"{self.name} {feed}: {kind} recovers to {at} from {before}")
            return
        self.places[feed] = at
        if before is None or before == at:
            return
        if self._noticed_at.get(feed) == before:  # one loss, reported twice without a frame between
            self.notices.remove(next(one for one in reversed(self.notices) if one.feed == feed))
        self.notices.append(LossNotice(self.name, feed, time.monotonic()))
        self._noticed_at[feed] = at

    def _publication(self, frame: Frame) -> None:
        feed, at = frame["feed"], (frame["epoch"], frame["offset"])
        before = self.places.get(feed)
        if before is None or at != (before[0], before[1] + 1):
            what = "repeated" if before and at[0] == before[0] and at[1] <= before[1] else "gap"
            self._ledger.count[what] += 1
            self._ledger.problem(f"{self.name} {feed}: {what}: {at} after {before}")
        self.places[feed] = at
        self.received.setdefault(feed, []).append(at)
        if frame["type"] == "group_member" and frame["data"]["change"] == "removed":
            self._ledger.removed(frame["data"]["group_id"], frame["data"]["user_id"], at)
        if frame["type"] == "new_message":
            message_id, group_id = frame["data"]["message_id"], frame["data"]["group_id"]
            if message_id in self.seen:
                self._ledger.again(self, message_id, at)
            self.seen[message_id] = time.monotonic()
            self.places_of[message_id] = at
            self.messages.setdefault(group_id, []).append(message_id)


@dataclass
class Ledger:
    """The record of a run; ``problems`` is empty while every promise is kept."""

    sent: dict[str, Sent] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)
    removals: dict[tuple[str, int], Place] = field(default_factory=dict)
    forgets: bool = False
    """Whether a FLUSHALL deletes the record of published messages."""
    errors: Counter[int] = field(default_factory=Counter)
    """The number of errors by code, after which clients sent a frame again."""

    def reader(self, name: str) -> Reader:
        """Return a new reader."""
        reader = Reader(name, self)
        self.readers.append(reader)
        return reader

    def acked(self, message_id: str, group_id: str, began: float, sender: str = "") -> None:
        """Record an acked message; the messages of a sender in their order."""
        began_at = time.time() - (time.monotonic() - began)
        self.sent[message_id] = Sent(group_id, began, sender, began_at)

    def removed(self, group_id: str, user_id: int, at: Place) -> None:
        """Record a removal at this position of the chat group's feed."""
        self.removals[group_id, user_id] = at

    def again(self, reader: Reader, message_id: str, at: Place) -> None:
        """Record a message that a reader receives again.

        If gateways publish, a FLUSHALL deletes their record of published messages. They cannot recognise a message
        that is sent again after its ack was lost.
        """
        if self._may_be_forgotten(reader.seen[message_id]):
            self.count["forgotten"] += 1
            return
        self.count["repeated"] += 1
        self.problem(f"{reader.name}: received message {message_id} again at {at}")

    def _may_be_forgotten(self, seen: float) -> bool:
        """Return whether a FLUSHALL deleted the record of messages seen then."""
        return self.forgets and any(not loss.feed and loss.at > seen - IN_FLIGHT_SECONDS for loss in self.losses)

    def problem(self, text: str) -> None:
        """Record a broken promise."""
        self.problems.append(text)

    def missing(self, reader: Reader, groups: Sequence[str]) -> list[str]:
        """Return acked messages of these chat groups that a reader neither received nor was notified about."""
        last_notice = {notice.feed: notice.at for notice in reader.notices}
        wanted = set(groups)
        return [
            message_id
            for message_id, sent in self.sent.items()
            if message_id not in reader.seen
            and sent.group_id in wanted
            and sent.began > last_notice.get(f"group:{sent.group_id}", 0.0)
        ]

    def judge(
        self, stored: Mapping[str, Sequence[str]], groups_of: Mapping[str, Sequence[str]], *, by_feed: bool = False
    ) -> None:
        """Compare what was acked, stored and received. ``stored``: message ids by chat group in the database's order;
        ``groups_of``: by reader, the chat groups it was in from beginning to end. ``by_feed``: the gateways publish, so
        that the order is the feed's, in which each sender's messages have theirs."""
        place_in = {message_id: index for ids in stored.values() for index, message_id in enumerate(ids)}
        for message_id in self.sent:
            if message_id not in place_in:
                self.count["lost"] += 1
                self.problem(f"message {message_id} was acked and is not in the history")
        for reader in self.readers:
            lost = self.missing(reader, groups_of[reader.name])
            self.count["lost"] += len(lost)
            for message_id in lost[:5]:
                self.problem(f"{reader.name}: did not receive {message_id} of {self.sent[message_id].group_id}")
            if not by_feed:
                self._judge_order(reader, place_in)
            self._judge_notices(reader)
        if by_feed:
            self._judge_feeds()
            self._judge_unpublished(place_in)
        self._judge_leaks()

    def _judge_order(self, reader: Reader, place_in: Mapping[str, int]) -> None:
        for group_id, ids in reader.messages.items():
            places = [place_in.get(message_id, -1) for message_id in ids]
            for before, after in pairwise(places):
                if after <= before:
                    self.count["swapped"] += 1
                    self.problem(f"{reader.name} {group_id}: the order {before}, {after} differs from the history's")

    def _judge_feeds(self) -> None:
        """Check one order for all readers that keeps each sender's; a forgotten message may be in two epochs."""
        places: dict[str, tuple[Place, float]] = {}
        number_of = {message_id: number for number, message_id in enumerate(self.sent)}
        for reader in self.readers:
            for message_id, at in reader.places_of.items():
                seen = reader.seen[message_id]
                other, seen_there = places.setdefault(message_id, (at, seen))
                twice = at[0] != other[0] and self._may_be_forgotten(min(seen, seen_there))
                if at != other and not twice:
                    self.count["swapped"] += 1
                    self.problem(f"{reader.name}: message {message_id} at {at}, but at {other} for other readers")
            for group_id, ids in reader.messages.items():
                last: dict[str, int] = {}
                for message_id in ids:
                    if message_id in self.sent:
                        sender, number = self.sent[message_id].sender, number_of[message_id]
                        if number < last.get(sender, -1):
                            self.count["swapped"] += 1
                            self.problem(f"{reader.name} {group_id}: {message_id} of {sender} was delivered too late")
                        last[sender] = number

    def _judge_unpublished(self, stored: Collection[str]) -> None:
        """Check that every stored message was acked, since each sender retries until it receives an ack."""
        for message_id in stored:
            if message_id not in self.sent:
                self.count["unpublished"] += 1
                self.problem(f"message {message_id} is stored, but its sender received no ack")

    def _judge_notices(self, reader: Reader) -> None:
        """Check that each reader is notified once per loss and feed; everything else must be recovered."""
        excuses = {id(loss): set[str]() for loss in self.losses}
        for notice in reader.notices:
            self.count["unrecoverable"] += 1
            for loss in self.losses:
                if loss.at <= notice.at and loss.feed in ("", notice.feed) and notice.feed not in excuses[id(loss)]:
                    excuses[id(loss)].add(notice.feed)
                    break
            else:
                self.count["unrecoverable without cause"] += 1
                self.problem(f"{reader.name} {notice.feed}: unrecoverable without a FLUSHALL or a trimmed log")

    def judge_errors(self, stored_at: Mapping[str, int]) -> None:
        """Check that no sender receives an error once its message is stored: ``stored_at`` in Unix seconds by message.

        A time before the send comes from a clock that was set back, and is ignored.
        """
        for reader in self.readers:
            for frame_id, at in reader.errors:
                message_id = reader.acks.get(frame_id, "")
                stored = stored_at.get(message_id, 0)
                if message_id in self.sent and self.sent[message_id].began_at - 1 < stored < at - 1 - IN_FLIGHT_SECONDS:
                    self.count["error though stored"] += 1
                    self.problem(
                        f"{reader.name}: received an error for {message_id} {at - stored:.0f} s after it was stored"
                    )

    def _judge_leaks(self) -> None:
        by_name = {reader.name: reader for reader in self.readers}
        for (group_id, user_id), (epoch, offset) in self.removals.items():
            reader, feed = by_name.get(f"user {user_id}"), f"group:{group_id}"
            received = reader.received.get(feed, []) if reader else []
            epochs = list(dict.fromkeys(place[0] for one in self.readers for place in one.received.get(feed, ())))
            later = set(epochs[epochs.index(epoch) + 1 :]) if epoch in epochs else set()
            leaked = [at for at in received if at[0] in later or (at[0] == epoch and at[1] > offset)]
            self.count["leaked"] += len(leaked)
            if leaked:
                self.problem(f"user {user_id} received {feed} at {leaked[:3]} after the removal at {(epoch, offset)}")

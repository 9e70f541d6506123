"""What was promised and what came: every acked message, every frame of every reader, and whether they agree.

Its checks are its own: it trusts neither the client module nor the server.
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
    """An acked message: when it was begun to be sent, to which chat group, and by whom."""

    group_id: str
    began: float
    sender: str = ""
    began_at: float = 0.0
    """Unix seconds."""


@dataclass(slots=True)
class Told:
    """A reader was told that a feed can't be recovered."""

    reader: str
    feed: str
    at: float


@dataclass(slots=True)
class Loss:
    """A fault that may lose publications: all feeds', or one's."""

    at: float
    feed: str = ""


class Reader:
    """One client's view. `observe` gets every frame as it comes off the socket."""

    def __init__(self, name: str, ledger: "Ledger") -> None:
        self.name = name
        self.places: dict[str, Place] = {}
        self.messages: dict[str, list[str]] = {}
        """Message ids by chat group, in order of arrival."""
        self.heard: dict[str, list[Place]] = {}
        """The place of each publication of each feed, in order of arrival."""
        self.seen: dict[str, float] = {}
        """When each message was seen last."""
        self.places_of: dict[str, Place] = {}
        """The place of each message."""
        self.acks: dict[str, str] = {}
        """By the id of a frame, that of its message."""
        self.errors: list[tuple[str, float]] = []
        """Frames that were answered by an error, and when (Unix seconds)."""
        self.told: list[Told] = []
        self.recovered = 0
        self._told_to: dict[str, Place] = {}
        self._ledger = ledger

    def observe(self, frame: Frame) -> None:
        """Check one frame against all before it."""
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
        told = Told(self.name, feed, time.monotonic())
        if self._told_to.get(feed) == before:  # nothing came since the last word: one loss, told in two steps
            self.told.remove(next(one for one in reversed(self.told) if one.feed == feed))
        self.told.append(told)
        self._told_to[feed] = at

    def _publication(self, frame: Frame) -> None:
        feed, at = frame["feed"], (frame["epoch"], frame["offset"])
        before = self.places.get(feed)
        if before is None or at != (before[0], before[1] + 1):
            what = "repeated" if before and at[0] == before[0] and at[1] <= before[1] else "gap"
            self._ledger.count[what] += 1
            self._ledger.problem(f"{self.name} {feed}: {what}: {at} after {before}")
        self.places[feed] = at
        self.heard.setdefault(feed, []).append(at)
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
    """All of a run. ``problems`` is empty as long as every promise is kept."""

    sent: dict[str, Sent] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)
    removals: dict[tuple[str, int], Place] = field(default_factory=dict)
    forgets: bool = False
    """Whether a FLUSHALL takes away the record of what was published."""
    errors: Counter[int] = field(default_factory=Counter)
    """What clients were told by code, before they sent a frame again."""

    def reader(self, name: str) -> Reader:
        """A new reader."""
        reader = Reader(name, self)
        self.readers.append(reader)
        return reader

    def acked(self, message_id: str, group_id: str, began: float, sender: str = "") -> None:
        """The server has said that it stored a message; a sender's in their order."""
        began_at = time.time() - (time.monotonic() - began)
        self.sent[message_id] = Sent(group_id, began, sender, began_at)

    def removed(self, group_id: str, user_id: int, at: Place) -> None:
        """A removal stands at this place of the chat group's feed."""
        self.removals[group_id, user_id] = at

    def again(self, reader: Reader, message_id: str, at: Place) -> None:
        """A reader gets a message that it has.

        Where gateways publish, a FLUSHALL makes them forget what they published: of a message whose ack was lost on the
        way, and which is sent again, they can't know.
        """
        if self._may_be_forgotten(reader.seen[message_id]):
            self.count["forgotten"] += 1
            return
        self.count["repeated"] += 1
        self.problem(f"{reader.name}: message {message_id} again at {at}")

    def _may_be_forgotten(self, seen: float) -> bool:
        """Whether a FLUSHALL took the record of what was seen then."""
        return self.forgets and any(not loss.feed and loss.at > seen - IN_FLIGHT_SECONDS for loss in self.losses)

    def problem(self, text: str) -> None:
        """Something that must not be."""
        self.problems.append(text)

    def missing(self, reader: Reader, groups: Sequence[str]) -> list[str]:
        """Acked messages of these chat groups that a reader has neither received nor been told to look up."""
        last_told: dict[str, float] = {}
        for told in reader.told:
            last_told[told.feed] = told.at
        wanted = set(groups)
        return [
            message_id
            for message_id, sent in self.sent.items()
            if message_id not in reader.seen
            and sent.group_id in wanted
            and sent.began > last_told.get(f"group:{sent.group_id}", 0.0)
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
                self.problem(f"{reader.name}: never got {message_id} of {self.sent[message_id].group_id}")
            if not by_feed:
                self._judge_order(reader, place_in)
            self._judge_told(reader)
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
                    self.problem(f"{reader.name} {group_id}: order {before}, {after} is not the history's")

    def _judge_feeds(self) -> None:
        """One order for all readers, and in it each sender's own. What was forgotten may have a place in two epochs."""
        places: dict[str, tuple[Place, float]] = {}
        number_of = {message_id: number for number, message_id in enumerate(self.sent)}
        for reader in self.readers:
            for message_id, at in reader.places_of.items():
                seen = reader.seen[message_id]
                other, seen_there = places.setdefault(message_id, (at, seen))
                twice = at[0] != other[0] and self._may_be_forgotten(min(seen, seen_there))
                if at != other and not twice:
                    self.count["swapped"] += 1
                    self.problem(f"{reader.name}: message {message_id} at {at}, for others at {other}")
            for group_id, ids in reader.messages.items():
                last: dict[str, int] = {}
                for message_id in ids:
                    if message_id in self.sent:
                        sender, number = self.sent[message_id].sender, number_of[message_id]
                        if number < last.get(sender, -1):
                            self.count["swapped"] += 1
                            self.problem(f"{reader.name} {group_id}: {message_id} of {sender} comes too late")
                        last[sender] = number

    def _judge_unpublished(self, stored: Collection[str]) -> None:
        """Every sender went on until it had an ack: what is stored without one was stored behind its back."""
        for message_id in stored:
            if message_id not in self.sent:
                self.count["unpublished"] += 1
                self.problem(f"message {message_id} is stored, and nobody was told so")

    def _judge_told(self, reader: Reader) -> None:
        """Each loss may be told once to each reader for each feed; anything else has to be recovered."""
        excuses = {id(loss): set[str]() for loss in self.losses}
        for told in reader.told:
            self.count["told"] += 1
            for loss in self.losses:
                if loss.at <= told.at and loss.feed in ("", told.feed) and told.feed not in excuses[id(loss)]:
                    excuses[id(loss)].add(told.feed)
                    break
            else:
                self.count["told without cause"] += 1
                self.problem(f"{reader.name} {told.feed}: told unrecoverable without a FLUSHALL or a trimmed log")

    def judge_errors(self, stored_at: Mapping[str, int]) -> None:
        """No sender gets an error once its message is stored: ``stored_at`` in whole Unix seconds, by message.

        A time before the message was sent is that of a clock which was set back, and says nothing.
        """
        for reader in self.readers:
            for frame_id, at in reader.errors:
                message_id = reader.acks.get(frame_id, "")
                stored = stored_at.get(message_id, 0)
                if message_id in self.sent and self.sent[message_id].began_at - 1 < stored < at - 1 - IN_FLIGHT_SECONDS:
                    self.count["error though stored"] += 1
                    self.problem(f"{reader.name}: an error for {message_id} {at - stored:.0f} s after it was stored")

    def _judge_leaks(self) -> None:
        by_name = {reader.name: reader for reader in self.readers}
        for (group_id, user_id), (epoch, offset) in self.removals.items():
            reader, feed = by_name.get(f"user {user_id}"), f"group:{group_id}"
            heard = reader.heard.get(feed, []) if reader else []
            epochs = list(dict.fromkeys(place[0] for one in self.readers for place in one.heard.get(feed, ())))
            later = set(epochs[epochs.index(epoch) + 1 :]) if epoch in epochs else set()
            leaked = [at for at in heard if at[0] in later or (at[0] == epoch and at[1] > offset)]
            self.count["leaked"] += len(leaked)
            if leaked:
                self.problem(f"user {user_id} heard {feed} at {leaked[:3]} after the removal at {(epoch, offset)}")

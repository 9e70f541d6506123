"""Judge order and repeats: one order for all readers, each message once, and what the history says."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

from tests.support.ledger.causes import Cause
from tests.support.ledger.reader import Place, Reader

if TYPE_CHECKING:
    from tests.support.ledger.ledger import Ledger

IN_FLIGHT_SECONDS = 1.0
"""Seconds that an error may be on its way while its message is stored."""
UNAVAILABLE_SECONDS = 15.0
"""Seconds after a fault's end in which calls may still fail that began while it acted."""
Stored = Mapping[str, Sequence[str]]


def judge_history(ledger: "Ledger", stored: Stored) -> None:
    """Check that the history has every acked message and every message that a reader received."""
    known = {message_id for ids in stored.values() for message_id in ids}
    for message_id in ledger.sent:
        if message_id not in known:
            ledger.found("lost", f"message {message_id} was acked and is not in the history")
    received = {message_id for reader in ledger.readers for message_id in reader.seen}
    for message_id in sorted(received - known - ledger.sent.keys()):
        ledger.found("phantom", f"message {message_id} was delivered and is not in the history")


def judge_order(ledger: "Ledger", reader: Reader, stored: Stored) -> None:
    """Check that a reader received messages in the order of the history; the first delivery of each counts."""
    place_in = {message_id: index for ids in stored.values() for index, message_id in enumerate(ids)}
    for group_id, ids in reader.messages.items():
        once = [message_id for message_id in dict.fromkeys(ids) if not _is_repeat(ledger, reader, message_id)]
        places = [place_in[message_id] for message_id in once if message_id in place_in]
        for before, after in pairwise(places):
            if after <= before:
                text = f"{reader.name} {group_id}: the order {before}, {after} differs from the history's"
                ledger.found("swapped", text)


def _is_repeat(ledger: "Ledger", reader: Reader, message_id: str) -> bool:
    """Return whether what a reader received first was, as is permitted, not the first publication of a message."""
    if message_id in ledger.published_again:
        return True
    here, first = reader.places_of[message_id], ledger.places_of(message_id)[0]
    began, again = ledger.first_delivered[message_id], reader.seen[message_id]
    return here != first and bool(forgetting(ledger, message_id, began, again, {here[0], first[0]}))


def forgetting(ledger: "Ledger", message_id: str, first: float, again: float, epochs: set[str]) -> list[Cause]:
    """Return the faults because of which a message may be delivered twice, first and again at these times.

    Such a fault deleted the record of published messages in between, and the message was not acked before it: so its
    sender sent it again, and the gateway could not recognise it. The message is then in another epoch, or in one that
    went back unnoticed. Or it set Redis back to a time before the message was published, which a gateway that was
    paused may deliver long afterwards.
    """
    sent = ledger.sent.get(message_id)
    began, acked = (min(sent.began, first), sent.acked) if sent else (first, inf)
    if len(epochs) == 1 and not ledger.lost_its_place(message_id):
        return []
    forgot = [cause for cause in ledger.causes.forgetting(began, again) if acked >= cause.began]
    return forgot + [cause for cause in ledger.causes.repeating(began, again) if cause not in forgot]


def judge_repeats(ledger: "Ledger") -> None:
    """Check that each message that a reader received again had been forgotten since, by one fault each time."""
    times: Counter[tuple[str, str]] = Counter()
    for reader, message_id, at, when in ledger.repeats:
        first = reader.places_of[message_id]
        times[reader.name, message_id] += 1
        # Both may reach a slow reader long after the fault: the first delivery to anybody counts.
        causes = forgetting(ledger, message_id, ledger.first_delivered[message_id], when, {first[0], at[0]})
        if times[reader.name, message_id] <= len(causes) + ledger.published_again[message_id]:
            ledger.count["forgotten"] += 1
        else:
            ledger.found("repeated", f"{reader.name}: received message {message_id} again at {at}, first at {first}")


def judge_feeds(ledger: "Ledger") -> None:
    """Check one order for all readers that keeps each sender's; a forgotten message may be in two epochs."""
    places: dict[str, tuple[Place, float]] = {}
    number_of = {message_id: number for number, message_id in enumerate(ledger.sent)}
    for reader in ledger.readers:
        for message_id, at in reader.places_of.items():
            seen = reader.seen[message_id]
            other, seen_there = places.setdefault(message_id, (at, seen))
            first, again, epochs = min(seen, seen_there), max(seen, seen_there), {at[0], other[0]}
            is_excused = message_id in ledger.published_again or forgetting(ledger, message_id, first, again, epochs)
            if at != other and not is_excused:
                text = f"{reader.name}: message {message_id} at {at}, but at {other} for other readers"
                ledger.found("swapped", text)
        for group_id, ids in reader.messages.items():
            last: dict[str, int] = {}
            for message_id in dict.fromkeys(ids):
                if message_id in ledger.sent:
                    sender, number = ledger.sent[message_id].sender, number_of[message_id]
                    if number < last.get(sender, -1):
                        text = f"{reader.name} {group_id}: {message_id} of {sender} was delivered too late"
                        ledger.found("swapped", text)
                    last[sender] = number


def judge_unpublished(ledger: "Ledger", stored: Stored) -> None:
    """Check that every stored message was acked, since each sender retries until it receives an ack."""
    for message_id in (message_id for ids in stored.values() for message_id in ids):
        if message_id not in ledger.sent and message_id not in ledger.abandoned:
            ledger.found("unpublished", f"message {message_id} is stored, but its sender received no ack")


def judge_unavailable(ledger: "Ledger") -> None:
    """Check that no frame was answered with 503 unless a fault that refuses something acted shortly before."""
    refusing = [cause for cause in ledger.causes.all if cause.kind.refuses and cause.readers is None]
    for reader in ledger.readers:
        for at in reader.unavailable:
            if not any(cause.acted(at - UNAVAILABLE_SECONDS - cause.kind.budget, at) for cause in refusing):
                ledger.found("error", f"{reader.name}: received an error 503 at {at:.3f} without a fault before it")


def judge_errors(ledger: "Ledger", stored_at: Mapping[str, int]) -> None:
    """Check that no sender received an error once its message was stored.

    A message that is stored before it was sent has its time from a clock that was set back in between.
    """
    offset = ledger.wall() - ledger.clock()
    for reader in ledger.readers:
        for frame_id, at in reader.errors:
            message_id = reader.acks.get(frame_id, "")
            sent, stored = ledger.sent.get(message_id), stored_at.get(message_id, 0)
            if sent is None or not stored:
                continue
            if stored < sent.began + offset - 1 - IN_FLIGHT_SECONDS:
                if not ledger.causes.turned_clock(sent.began, sent.acked):
                    ledger.found("stored before sent", f"message {message_id} is stored before it was sent")
            elif stored < at - 1 - IN_FLIGHT_SECONDS and not _turned(ledger, message_id):
                text = f"{reader.name}: received an error for {message_id} {at - stored:.0f} s after it was stored"
                ledger.found("error though stored", text)


def _turned(ledger: "Ledger", message_id: str) -> bool:
    """Return whether the time at which a message was stored may be from a clock that was set back."""
    return ledger.causes.turned_clock(ledger.sent[message_id].began, ledger.sent[message_id].acked)

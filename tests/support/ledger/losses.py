"""Judge losses: a reader that did not receive a message was notified of it, and a fault between caused the notice."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.ledger.causes import Cause
from tests.support.ledger.reader import Notice, Reader, Span

if TYPE_CHECKING:
    from tests.support.ledger.ledger import Ledger, Sent

FIRST = 5
"""So many lost messages are named for each reader; all are counted."""


@dataclass(frozen=True, slots=True)
class Excused:
    """A notice that has a cause, and from when on messages may be missing because of it.

    That is when the last message before the gap was sent: other publications of a feed come by other streams, and may
    overtake messages.
    """

    notice: Notice
    since: float
    why: str


def excused(ledger: "Ledger", reader: Reader) -> tuple[dict[str, list[Excused]], list[Notice]]:
    """Return the notices of a reader that have a cause, by feed, and those that have none.

    A notice covers the time since the reader last had something of the feed. It is excused if a fault that may lose
    publications of the feed acted in that time. Each fault excuses one notice of a feed to a reader: who is notified
    twice of one loss reads the history twice. Two things excuse without a fault: more publications were missed than a
    resume replays, or the reader's user had been removed from the chat group.
    """
    found: dict[str, list[Excused]] = {}
    unexcused: list[Notice] = []
    used: set[tuple[str, Cause]] = set()
    for notice in reader.notices:
        since = ledger.since(notice.feed, notice.before)
        why = _without_fault(ledger, reader, notice)
        if not why:
            for cause in ledger.causes.losing(reader.name, notice.feed):
                if cause.acted(since - cause.kind.unnoticed, notice.at) and (notice.feed, cause) not in used:
                    used.add((notice.feed, cause))
                    why = cause.kind.name
                    break
        if why:
            found.setdefault(notice.feed, []).append(
                Excused(notice, ledger.since_message(notice.feed, notice.before), why)
            )
        else:
            unexcused.append(notice)
    return found, unexcused


def _without_fault(ledger: "Ledger", reader: Reader, notice: Notice) -> str:
    (epoch, before), (epoch_after, after) = notice.before, notice.after
    most = ledger.kept if notice.kind == "feed_reset" else ledger.resumed
    if epoch == epoch_after and after - before > most:
        return "missed more than a log keeps or a resume replays"
    if notice.rejoined:
        first, last = ledger.rank(notice.feed, notice.before), ledger.rank(notice.feed, notice.after)
        removals = ledger.removals.get((notice.feed.removeprefix("group:"), reader.user_id), ())
        if any(first <= ledger.rank(notice.feed, at) <= last for at, _ in removals):
            return "was removed"
    return ""


def missing(ledger: "Ledger", reader: Reader, groups: Collection[str]) -> list[str]:
    """Return the acked messages that a reader was owed and neither received nor was rightly notified about.

    Owed are all messages of ``groups``, of which it is a member all the time, and those of other chat groups while it
    is subscribed to them.
    """
    notices, _ = excused(ledger, reader)
    return [
        message_id
        for message_id, sent in ledger.sent.items()
        if message_id not in reader.seen
        and not is_taken_for_another(ledger, reader, message_id, sent)
        and (sent.group_id in groups or span_of(ledger, reader, message_id, sent))
        and covering(ledger, reader, notices, message_id, sent) is None
    ]


def is_taken_for_another(ledger: "Ledger", reader: Reader, message_id: str, sent: "Sent") -> bool:
    """Return whether the reader has what was lost where the message is now, and nobody could notice."""
    feed = f"group:{sent.group_id}"
    return any(ledger.took_a_place(feed, at) and reader.has(feed, at) for at in ledger.places_of(message_id))


def span_of(ledger: "Ledger", reader: Reader, message_id: str, sent: "Sent") -> Span | None:
    """Return the stretch of a reader's subscription in which a message was published; None if there is none.

    Its position decides, unless everybody received it after the stretch: a Redis that went back may use the positions
    of an earlier time again. If no reader has the message, it counts where its sending began after the reader
    subscribed.
    """
    feed = f"group:{sent.group_id}"
    spans = reader.spans.get(feed, ())
    ranks = [ledger.rank(feed, place) for place in ledger.places_of(message_id)]
    if not ranks:
        return next((span for span in spans if span.began <= sent.began and span.last is None), None)
    spans = [span for span in spans if ledger.first_delivered[message_id] <= span.ended]
    return next((span for span in spans if all(_is_within(ledger, feed, span, rank) for rank in ranks)), None)


def _is_within(ledger: "Ledger", feed: str, span: Span, rank: tuple[int, int]) -> bool:
    is_before_end = span.last is None or rank <= ledger.rank(feed, span.last)
    return ledger.rank(feed, span.first) < rank and is_before_end


def covering(
    ledger: "Ledger", reader: Reader, notices: dict[str, list[Excused]], message_id: str, sent: "Sent"
) -> Excused | None:
    """Return the excused notice that covers a message; the last one if it was published twice and both were missed.

    The notice's positions decide. If no reader has the message, it was acked after what the reader last had, and its
    sending began before the notice.
    """
    feed = f"group:{sent.group_id}"
    candidates = notices.get(feed, ())
    places = ledger.places_of(message_id)
    if not places:
        return next((one for one in candidates if sent.acked >= one.since and sent.began <= one.notice.at), None)
    last = None
    for place in places:
        rank = ledger.rank(feed, place)
        for one in candidates:
            first, last_lost = ledger.rank(feed, one.notice.before), ledger.rank(feed, one.notice.after)
            # Redis went back, and the log has other publications than the reader up to there, or at this place.
            is_set_back = last_lost <= first or reader.has(feed, place)
            if rank <= last_lost and (first < rank or is_set_back):
                last = one
                break
        else:
            return None
    return last


def judge(ledger: "Ledger", reader: Reader, groups: Collection[str]) -> None:
    """Find lost messages, and notices without a cause."""
    lost = missing(ledger, reader, groups)
    ledger.count["lost"] += len(lost)
    for message_id in lost[:FIRST]:
        ledger.problem(f"{reader.name}: did not receive {message_id} of {ledger.sent[message_id].group_id}")
    ledger.count["unrecoverable"] += len(reader.notices)
    for notice in excused(ledger, reader)[1]:
        ledger.found(
            "unrecoverable without cause",
            f"{reader.name} {notice.feed}: unrecoverable from {notice.before} to {notice.after} without a cause between"
            f" {ledger.since(notice.feed, notice.before):.3f} and {notice.at:.3f}",
        )

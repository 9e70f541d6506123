"""Judge membership: an added user is subscribed, a removed one receives nothing more, nobody else is unsubscribed."""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from tests.support.ledger.reader import LEFT, Place, Reader

if TYPE_CHECKING:
    from tests.support.ledger.ledger import Ledger


@dataclass(slots=True)
class Change:
    """A call that added a user to a chat group or removed it. ``ended``: infinite if it did not succeed."""

    group_id: str
    user_id: int
    is_in: bool
    began: float
    ended: float = inf


def judge(ledger: "Ledger", reader: Reader, groups: Collection[str]) -> None:
    """Check what a reader is subscribed to at the end: ``groups``, those it was added to, none it was removed from."""
    if reader.is_over:
        return
    wanted: set[str] = set(groups)
    unwanted: set[str] = set()
    for change in ledger.changes:
        if change.user_id == reader.user_id and change.ended < inf:
            into, out_of = (wanted, unwanted) if change.is_in else (unwanted, wanted)
            into.add(change.group_id)
            out_of.discard(change.group_id)
    for group_id in sorted(wanted | unwanted):
        spans = reader.spans.get(f"group:{group_id}", [])
        is_subscribed = bool(spans) and (spans[-1].last is None or spans[-1].why == "finished")
        has_left = bool(spans) and spans[-1].why == LEFT
        if group_id in wanted and not is_subscribed and not has_left:
            ledger.found("unsubscribed", f"{reader.name} is a member of {group_id} and is not subscribed to it")
        if group_id in unwanted and is_subscribed and reader.was_connected:
            ledger.found("leaked", f"{reader.name} was removed from {group_id} and is still subscribed to it")


def judge_leaks(ledger: "Ledger") -> None:
    """Check that no reader received anything of a chat group between its user's removal and a new addition."""
    for (group_id, user_id), removals in ledger.removals.items():
        for reader in ledger.readers:
            received = reader.received.get(f"group:{group_id}")
            if reader.user_id != user_id or received is None:
                continue
            in_order = sorted(removals, key=lambda one: ledger.rank(f"group:{group_id}", one[0]))
            for behind, (removal, known) in enumerate(reversed(in_order)):
                if ledger.took_a_place(f"group:{group_id}", removal):
                    continue  # what was received behind it may have been there before it
                in_log = min(known, ledger.passed(f"group:{group_id}", removal))
                until = _added_again(ledger, group_id, user_id, in_log, behind)
                leaked = [
                    at
                    for at, when in zip(received.places, received.at, strict=True)
                    if when < until
                    and _is_after(ledger, f"group:{group_id}", at, removal)
                    and not _was_set_back(ledger, reader, f"group:{group_id}", at, when, known)
                ]
                ledger.count["leaked"] += len(leaked)
                if leaked:
                    what = f"{leaked[:3]} of group:{group_id} after the removal at {removal}"
                    ledger.problem(f"{reader.name} received {what}")


def _is_after(ledger: "Ledger", feed: str, at: Place, removal: Place) -> bool:
    return ledger.rank(feed, at) > ledger.rank(feed, removal)


def _was_set_back(ledger: "Ledger", reader: Reader, feed: str, at: Place, when: float, known: float) -> bool:
    """Return whether a reader was set back behind what it received, before a removal was known: Redis went back."""
    return any(
        notice.feed == feed and when <= notice.at <= known and _is_after(ledger, feed, at, notice.after)
        for notice in reader.notices
    )


def _added_again(ledger: "Ledger", group_id: str, user_id: int, known: float, behind: int) -> float:
    """Return when the user began to be added again after a removal; infinite if it wasn't.

    The removal was first ``known`` then, and has so many others ``behind`` it in the feed. Which call it comes from
    isn't said: at the latest the last one before it was known, and one with as many others behind it. The earlier of
    both counts, as an old removal may be relayed again, and may be known late. An addition counts from the call's
    begin: the chat service may answer with the new membership before anybody learns that the call succeeded.
    """
    changes = [one for one in ledger.changes if (one.group_id, one.user_id) == (group_id, user_id)]
    calls = [one.began for one in changes if not one.is_in]
    last_known = max((began for began in calls if began <= known), default=known)
    since = min(last_known, calls[-1 - behind] if behind < len(calls) else min(calls, default=known))
    return min((one.began for one in changes if one.is_in and one.began >= since), default=inf)

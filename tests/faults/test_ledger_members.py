"""Check what the ledger finds and what it excuses about members: who joins, leaves, is added or removed."""

import pytest

from tests.faults.fabricated import (
    FLUSH,
    LEFT,
    History,
    auth,
    joined,
    publication,
    removal,
    reset,
)
from tests.support.ledger import Kind


@pytest.fixture
def history() -> History:
    return History()


@pytest.mark.parametrize("gets", [True, False])
def test_joined_reader_is_owed_what_comes_after(history: History, gets: bool) -> None:
    comer = history.ledger.reader("user 2")
    comer.observe(auth(None))
    history.at(1).acked(1)
    history.get(1)
    with history.ledger.adding("g", 2):
        history.at(2)
    comer.observe(joined(("e", 1)))
    history.acked(2)
    history.get(2)
    if gets:
        history.get(2, reader=comer)
    assert history.judge("user 1").count["lost"] == (not gets)


@pytest.mark.parametrize("gets", [True, False])
def test_removed_reader_is_owed_what_came_before(history: History, gets: bool) -> None:
    leaver = history.ledger.reader("user 2")
    leaver.observe(auth(("e", 0)))
    history.at(1).acked(1)
    history.get(1)
    if gets:
        history.get(1, reader=leaver)
    with history.ledger.removing("g", 2):
        history.at(2)
    history.one.observe(removal(2, 2))
    if gets:
        leaver.observe(removal(2, 2))
    else:
        leaver.observe(auth(("e", 2), recovered=False, connection="c-2"))
    leaver.observe(LEFT)
    history.at(3).acked(3)
    history.get(3)
    assert history.judge("user 1").count["lost"] == (not gets)


def test_member_that_is_not_subscribed_at_the_end_is_found(history: History) -> None:
    history.at(1).one.observe(auth(None, connection="c-2"))
    assert history.judge().count["unsubscribed"] == 1
    history.one.observe(joined(("e", 0), recovered=True))
    assert history.at(2).judge().count["unsubscribed"] == 1


def test_reader_that_finished_is_not_unsubscribed(history: History) -> None:
    history.at(1).one.disconnected(for_good=True)
    assert history.judge().problems == []


def test_added_user_that_is_never_subscribed_is_found(history: History) -> None:
    comer = history.ledger.reader("user 2")
    comer.observe(auth(None))
    with history.ledger.adding("g", 2):
        pass
    assert history.judge("user 1").count["unsubscribed"] == 1


@pytest.mark.parametrize("told", [True, False])
def test_removed_reader_that_is_still_subscribed_is_found(history: History, told: bool) -> None:
    """Its removal was lost with the log, so nobody received it; the reader has to be told all the same."""
    leaver = history.ledger.reader("user 2")
    leaver.observe(auth(("e", 0)))
    with history.ledger.removing("g", 2):
        history.at(1)
    if told:
        leaver.observe(LEFT)
    leaver.disconnected(for_good=True)
    assert history.judge("user 1").count["leaked"] == (not told)


@pytest.mark.parametrize("why", ["leak", "added again", "added before"])
def test_delivery_after_a_removal_is_a_leak(history: History, why: str) -> None:
    removed = history.ledger.reader("user 2")
    removed.observe(auth(("e", 0)))
    if why == "added before":
        with history.ledger.adding("g", 2):
            history.at(1)
    with history.ledger.removing("g", 2):
        history.at(2)
    for reader in (history.one, removed):
        reader.observe(removal(1, 2))
    removed.observe(LEFT)
    history.at(3)
    if why == "added again":
        with history.ledger.adding("g", 2):
            removed.observe(joined(("e", 1), recovered=True))
    history.acked(2)
    history.get(2)
    history.get(2, reader=removed)
    assert history.judge("user 1").count["leaked"] == (why != "added again")


def test_removal_relayed_again_after_an_addition_is_no_leak(history: History) -> None:
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    with history.ledger.removing("g", 2):
        history.at(1)
    for reader in (history.one, two):
        reader.observe(removal(1, 2))
    two.observe(LEFT)
    with history.ledger.adding("g", 2):
        history.at(2)
    two.observe(joined(("e", 1), recovered=True))
    for reader in (history.one, two):
        reader.observe(removal(2, 2))
    history.at(3).acked(3)
    history.get(3)
    history.get(3, reader=two)
    assert history.judge("user 1").count["leaked"] == 0


@pytest.mark.parametrize(("again", "count"), [(True, 0), (False, 1)])
def test_removal_is_as_old_as_what_follows_it(history: History, again: bool, count: int) -> None:
    """Who receives the removal at offset 1 is late: the user was added, had offset 2, and was removed once more."""
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    with history.at(1).ledger.removing("g", 2):
        two.observe(LEFT)
    if again:
        with history.at(2).ledger.adding("g", 2):
            two.observe(joined(("e", 1)))
    two.places["group:g"] = ("e", 1)
    history.at(3).acked(2)
    history.get(2, reader=two)
    with history.at(4).ledger.removing("g", 2):
        two.observe(LEFT)
    history.at(5).one.observe(removal(1, 2))
    history.get(2)
    with history.at(6).ledger.adding("g", 2):
        two.observe(joined(("e", 2)))
    assert history.judge("user 1").count["leaked"] == count


@pytest.mark.parametrize(("told_at", "count"), [(4, 0), (0, 1)])
def test_what_came_before_redis_went_back_is_no_leak(history: History, told_at: int, count: int) -> None:
    """The removed reader had offset 3, was set back to 1, and its removal then took offset 2."""
    removed = history.ledger.reader("user 2")
    removed.observe(auth(("e", 2)))
    history.at(3).acked(3)
    removed.observe(publication(3))
    history.cause(FLUSH, 3.5, 3.6)
    if told_at:
        history.at(told_at).get(1)
        removed.observe(reset(("e", 1)))
    with history.at(5).ledger.removing("g", 2):
        pass
    history.one.places["group:g"] = ("e", 1)
    history.one.observe(removal(2, 2))
    removed.observe(LEFT)
    assert history.judge().count["leaked"] == count


def test_removal_known_late_is_not_taken_for_a_later_one(history: History) -> None:
    """A slow reader shows the first removal only after the second; in between the user was a member."""
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 1)))
    for now, change in enumerate((history.ledger.removing, history.ledger.adding, history.ledger.removing), 1):
        with change("g", 2):
            history.at(now)
    two.observe(publication(2))
    two.observe(removal(3, 2))
    two.observe(LEFT)
    history.at(4).one.observe(removal(1, 2))
    history.at(5).one.observe(publication(2))
    history.acked(2)
    assert history.judge("user 1").count["leaked"] == 0
    history.at(6).one.observe(removal(3, 2))
    two.observe(publication(4))
    assert history.judge("user 1").count["leaked"] == 1


@pytest.mark.parametrize("was_removed", [True, False])
def test_rejoining_without_recovery_is_excused_by_a_removal(history: History, was_removed: bool) -> None:
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    if was_removed:
        history.one.observe(removal(1, 2))
    two.observe(LEFT)
    two.observe(joined(("e", 5), recovered=False))
    assert history.judge("user 1").count["unrecoverable without cause"] == (not was_removed)


def test_leaving_and_joining_by_request_is_no_loss(history: History) -> None:
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    two.observe(LEFT)
    history.at(1).acked(1)
    history.get(1)
    two.observe(joined(("e", 1)))
    assert history.judge("user 1").problems == []


@pytest.mark.parametrize(("unnoticed", "count"), [(10.0, 0), (1.0, 1), (0.0, 1)])
def test_reader_that_subscribed_before_the_loss_was_noticed_is_excused(
    history: History, unnoticed: float, count: int
) -> None:
    """A gateway that did not know of the flush yet gave it a position from before, which no reader had."""
    history.cause(Kind("FLUSHALL", loses=True, unnoticed=unnoticed), 1, 1.1)
    two = history.ledger.reader("user 2")
    history.at(5)
    two.observe(auth(("e", 7)))
    history.at(6)
    two.observe(reset(("f", 0)))
    assert history.judge("user 1").count["unrecoverable without cause"] == count


@pytest.mark.parametrize("finished", [True, False])
def test_reader_that_finished_is_owed_nothing_more(history: History, finished: bool) -> None:
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    history.at(1)
    if finished:
        two.finished()
    history.at(2).acked(1)
    history.get(1)
    assert history.judge("user 1").count["lost"] == (not finished)

"""Check what the ledger finds and what it excuses, rule by rule: losses and membership."""

from typing import Any

import pytest

from tests.faults.fabricated import (
    FLUSH,
    LEFT,
    RESTART,
    TRIM,
    Frame,
    History,
    auth,
    joined,
    publication,
    removal,
    reset,
)
from tests.support.ledger import Kind, Ledger


@pytest.fixture
def history() -> History:
    return History()


def test_run_without_a_fault_has_no_findings(history: History) -> None:
    history.at(1).acked(1, 2)
    history.get(1, 2)
    history.one.disconnected()
    history.at(2).acked(3)
    history.at(3).one.observe(auth(("e", 3), recovered=True, connection="c-2"))
    history.get(3)
    ledger = history.judge()
    assert (ledger.problems, ledger.late) == ([], [])
    assert (ledger.count["in time"], history.one.recovered) == (3, 1)


@pytest.mark.parametrize(
    ("count", "frames"),
    [
        ("lost", [publication(1), publication(2)]),
        ("gap", [publication(1), publication(3)]),
        ("repeated", [publication(1), publication(2), publication(2), publication(3)]),
        ("repeated", [publication(1), publication(2), publication(3), publication(4, "m-1")]),
        ("swapped", [publication(1), publication(2, "m-3"), publication(3, "m-2")]),
        ("phantom", [publication(1), publication(2), publication(3), publication(4, "m-4")]),
        ("unrecoverable without cause", [publication(1), joined(("e", 3), recovered=False)]),
        ("unrecoverable without cause", [publication(1), joined(("other", 3))]),
    ],
)
def test_each_broken_promise_is_found(history: History, count: str, frames: list[Frame]) -> None:
    for frame in frames:
        history.one.observe(frame)
    history.at(1).acked(1, 2, 3)
    ledger = history.judge()
    assert ledger.count[count] > 0
    assert ledger.problems


# A notice and the loss behind it


def lose(history: History, began: float, ended: float, **scope: Any) -> Ledger:
    """Return the ledger of a reader that has message 1, sent at 1, misses 2, acked at 5, and is notified at 10."""
    history.at(1).acked(1, took=0)
    history.at(2).get(1)
    history.at(5).acked(2)
    history.cause(TRIM, began, ended, **scope)
    history.at(10).one.observe(reset(("e", 2)))
    return history.judge()


@pytest.mark.parametrize(("began", "ended"), [(3, 4), (0, 1.0), (9, 20), (1.5, 1.6)])
def test_cause_between_last_publication_and_notice_excuses_it(history: History, began: float, ended: float) -> None:
    """At 1.5 the publication was on its way to the reader: it was sent before."""
    assert lose(history, began, ended).problems == []


@pytest.mark.parametrize(("began", "ended"), [(0.2, 0.9), (10.1, 11)])
def test_cause_before_or_after_excuses_no_notice(history: History, began: float, ended: float) -> None:
    ledger = lose(history, began, ended)
    assert (ledger.count["unrecoverable without cause"], ledger.count["lost"]) == (1, 1)


@pytest.mark.parametrize("scope", [{"feed": "group:other"}, {"readers": ["user 2"]}])
def test_cause_excuses_only_its_feed_and_readers(history: History, scope: dict[str, Any]) -> None:
    assert lose(history, 3, 4, **scope).count["unrecoverable without cause"] == 1


@pytest.mark.parametrize("scope", [{"feed": "group:g"}, {"readers": ["user 1"]}])
def test_cause_excuses_its_own_feed_and_readers(history: History, scope: dict[str, Any]) -> None:
    assert lose(history, 3, 4, **scope).problems == []


def test_fault_that_loses_nothing_excuses_no_notice(history: History) -> None:
    history.at(1).acked(1)
    history.cause(RESTART, 1, 5)
    history.at(6).one.observe(reset(("e", 1)))
    assert history.judge().count["unrecoverable without cause"] == 1


@pytest.mark.parametrize("between", ["nothing", "a reconnection", "a publication"])
def test_one_cause_excuses_one_notice(history: History, between: str) -> None:
    history.at(1).cause(FLUSH, 1, 1.1)
    history.at(2).one.observe(reset(("f", 0)))
    if between == "a reconnection":
        history.one.disconnected()
        history.at(3).one.observe(auth(("f", 4), recovered=False, connection="c-2"))
    else:
        if between == "a publication":
            history.get(1, epoch="f")
            history.acked(1)
        history.at(3).one.observe(reset(("f", 4)))
    assert history.judge().count["unrecoverable without cause"] == 1


def test_two_causes_excuse_two_notices(history: History) -> None:
    for began in (1, 3):
        history.cause(FLUSH, began, began + 0.1)
        history.at(began + 1).one.observe(reset((f"after {began}", 0)))
    assert history.judge().problems == []


def test_notice_without_a_loss_needs_a_cause(history: History) -> None:
    history.at(1).acked(1)
    history.get(1)
    history.at(2).one.observe(reset(("f", 0)))
    assert history.judge().count["unrecoverable without cause"] == 1


@pytest.mark.parametrize(("offset", "count"), [(2, 0), (3, 1)])
def test_notice_excuses_only_what_lies_before_it(history: History, offset: int, count: int) -> None:
    """Another reader has message 2 at this offset; the first one is notified of a loss up to offset 2."""
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", offset - 1)))
    history.at(1).acked(1)
    history.get(1)
    history.at(3).acked(2)
    two.observe(publication(offset, "m-2"))
    history.cause(TRIM, 2, 2.5)
    history.at(4).one.observe(reset(("e", 2)))
    assert history.judge("user 1").count["lost"] == count


@pytest.mark.parametrize(("began", "count"), [(3.9, 0), (4.1, 1)])
def test_notice_does_not_excuse_what_was_sent_after_it(history: History, began: float, count: int) -> None:
    history.cause(FLUSH, 1, 1.1)
    history.at(4).one.observe(reset(("f", 0)))
    history.at(5).acked(1, took=5 - began)
    assert history.judge().count["lost"] == count


def test_unexcused_notice_excuses_no_message(history: History) -> None:
    history.at(2).acked(1)
    history.at(3).one.observe(reset(("e", 1)))
    assert history.judge().count["lost"] == 1


@pytest.mark.parametrize(("missed", "count"), [(300, 0), (200, 1)])
def test_more_missed_than_a_resume_replays_is_excused(history: History, missed: int, count: int) -> None:
    history.at(1).one.disconnected()
    history.at(2).one.observe(auth(("e", missed), recovered=False, connection="c-2"))
    assert history.judge().count["unrecoverable without cause"] == count


def test_fault_without_an_end_is_found(history: History) -> None:
    history.ledger.causes.begin(TRIM)
    assert history.judge().count["endless"] == 1
    with history.ledger.fault(TRIM, feed="group:g") as cause:
        history.at(1)
    assert (cause.began, cause.ended, cause.feed) == (0.0, 1.0, "group:g")


# Membership


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

"""Check what the ledger finds and what it excuses, rule by rule: losses and notices."""

from typing import Any

import pytest

from tests.faults.fabricated import (
    FLUSH,
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
from tests.support.ledger import Ledger


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


def test_position_is_as_old_as_its_message_also_if_nobody_is_owed_it(history: History) -> None:
    """Redis lost the stream's entry of message 1, so it is owed to nobody; it reached the reader late all the same."""
    history.at(1).acked(1)
    history.at(3).acked(2)
    del history.ledger.sent["m-1"]
    history.at(5).get(1)
    history.cause(TRIM, 4, 5.5)
    history.at(6).one.observe(reset(("e", 2)))
    assert history.judge().count["lost"] == 0


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


def test_notice_excuses_a_message_that_a_removal_overtook(history: History) -> None:
    """Message 2 was acked before the reader had the removal at offset 2, which came by another stream."""
    history.at(1).acked(1)
    history.get(1)
    history.at(2).acked(2)
    history.at(3).one.observe(removal(2, 9))
    history.cause(TRIM, 3.5, 3.6)
    history.at(4).one.observe(reset(("e", 3)))
    assert history.judge().problems == []


@pytest.mark.parametrize(("is_told", "count"), [(True, 0), (False, 1)])
def test_notice_excuses_what_took_the_place_of_what_redis_forgot(history: History, is_told: bool, count: int) -> None:
    """Redis went back behind message 1, and gave its offset to message 2, which another reader has."""
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    history.at(1).acked(1)
    history.get(1)
    history.at(3).acked(2)
    two.observe(publication(1, "m-2"))
    history.cause(FLUSH, 2, 2.5)
    if is_told:
        history.at(4).one.observe(reset(("f", 0)))
    assert len(history.ledger.missing(history.one, ["g"])) == count


@pytest.mark.parametrize(("offset", "count"), [(0, 0), (1, 1)])
def test_what_nobody_could_notice_excuses_what_took_the_place(history: History, offset: int, count: int) -> None:
    """Redis went back to this offset, and message 2 took the place of message 1, while no gateway had the feed."""
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    history.at(1).acked(1)
    history.get(1)
    history.at(2).ledger.unnoticed("group:g", ("e", offset))
    history.at(3).acked(2)
    two.observe(publication(1, "m-2"))
    assert len(history.ledger.missing(history.one, ["g"])) == count


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

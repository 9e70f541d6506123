"""Check how the ledger judges repeats, order, errors and closes."""

import pytest

from tests.faults.fabricated import (
    CLOCK,
    FLUSH,
    RESTART,
    TRIM,
    History,
    auth,
    publication,
    reset,
)
from tests.support.ledger import Kind


@pytest.fixture
def history() -> History:
    return History()


@pytest.mark.parametrize(
    ("kind", "acked", "flushed", "count"),
    [
        (FLUSH, 4.0, 3.0, "forgotten"),
        (TRIM, 4.0, 3.0, "repeated"),
        (FLUSH, 2.0, 3.0, "repeated"),  # acked before it was forgotten: nobody sent it again
        (FLUSH, 5.5, 5.2, "repeated"),  # forgotten only after it was delivered again
    ],
)
def test_repeat_is_excused_if_forgotten_before_its_ack(
    history: History, kind: Kind, acked: float, flushed: float, count: str
) -> None:
    history.at(1).get(1)
    history.cause(kind, flushed, flushed + 0.1)
    history.cause(TRIM, 3, 3.1)
    history.at(4.5).one.observe(reset(("f", 0)))
    history.at(5).get(1, epoch="f")
    history.at(acked).acked(1, took=acked - 0.5)
    assert history.at(6).judge(by_feed=True).count[count] == 1


def test_repeat_in_the_same_epoch_is_never_excused(history: History) -> None:
    history.at(1).get(1)
    history.cause(FLUSH, 1, 2)
    history.at(3).one.observe(publication(2, "m-1"))
    history.at(4).acked(1, took=3.5)
    assert history.judge(by_feed=True).count["repeated"] == 1


@pytest.mark.parametrize(("kind", "count"), [(FLUSH, 0), (TRIM, 1)])
def test_readers_have_a_message_at_two_places_if_forgotten(history: History, kind: Kind, count: int) -> None:
    two = history.ledger.reader("user 2")
    two.observe(auth(("f", 0)))
    history.at(1).get(1)
    history.cause(kind, 2, 2.1)
    history.at(3).get(1, reader=two, epoch="f")
    history.at(4).acked(1, took=3.5)
    assert history.judge(by_feed=True).count["swapped"] == count


def test_feed_order_is_judged_per_sender(history: History) -> None:
    for number, sender in ((1, "a"), (2, "b"), (3, "a")):
        history.at(number).acked(number, sender=sender)
    history.one.observe(publication(1, "m-2"))
    history.one.observe(publication(2, "m-1"))
    history.one.observe(publication(3, "m-3"))
    assert history.judge(by_feed=True).problems == []
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    two.observe(publication(1, "m-2"))
    two.observe(publication(2, "m-3"))
    two.observe(publication(3, "m-1"))
    assert history.judge("user 1", by_feed=True).count["swapped"] == 3, "one late for its sender, two at other places"


def test_acked_message_missing_from_history_is_lost(history: History) -> None:
    history.at(1).acked(1)
    history.get(1)
    history.stored.clear()
    assert history.judge().count["lost"] == 1


def test_stored_unpublished_message_is_a_problem(history: History) -> None:
    history.stored.append("m-1")
    assert history.judge(by_feed=True).count["unpublished"] == 1


@pytest.mark.parametrize(
    ("stored", "kind", "count"),
    [
        (1_001, RESTART, "error though stored"),
        (1_001, CLOCK, ""),
        (1_006, RESTART, ""),
        (400, RESTART, "stored before sent"),
        (400, CLOCK, ""),
    ],
)
def test_error_after_the_message_was_stored(history: History, stored: int, kind: Kind, count: str) -> None:
    history.at(1).one.acks = {"c-1": "m-1"}
    history.one.errors = [("c-1", 1_006.0), ("c-2", 1_006.0)]
    history.cause(kind, 0, 0.5)
    history.at(7).acked(1, took=6.6)
    history.ledger.judge_errors({"m-1": stored})
    assert [what for what in ("error though stored", "stored before sent") if history.ledger.count[what]] == (
        [count] if count else []
    )


@pytest.mark.parametrize(("code", "count"), [(503, 0), (403, 0), (500, 1), (400, 1)])
def test_unexpected_error_is_a_problem(history: History, code: int, count: int) -> None:
    history.one.observe({"type": "error", "message_id": "c-1", "data": {"code": code, "message": "no"}})
    assert (history.judge().count["error"], history.ledger.errors[code]) == (count, 1)


@pytest.mark.parametrize(("code", "count"), [(1006, 0), (4501, 0), (4502, 0), (4500, 1), (4409, 1)])
def test_unexpected_close_is_a_problem(history: History, code: int, count: int) -> None:
    history.one.disconnected(code)
    history.one.observe(auth(("e", 0), recovered=True, connection="c-2"))
    assert history.judge().count["closed"] == count


FLUSH_AND_BACK = Kind("FLUSHALL", loses=True, unnoticed=10.0, forgets=True, repeats=True)
GONE_BACK = Kind("Redis crashed and lost a second", loses=True, unnoticed=10.0, repeats=True)


@pytest.mark.parametrize(("kind", "epoch", "count"), [(GONE_BACK, "f", 0), (GONE_BACK, "e", 1), (TRIM, "f", 1)])
def test_repeat_behind_a_notice_is_excused_if_redis_went_back(
    history: History, kind: Kind, epoch: str, count: int
) -> None:
    history.at(1).acked(1)
    history.get(1)
    history.cause(kind, 2, 2.1)
    history.at(3).one.observe(reset((epoch, 1 if epoch == "e" else 0)))
    history.one.observe(publication(2 if epoch == "e" else 1, "m-1", epoch))
    assert history.judge(by_feed=True).count["repeated"] == count


@pytest.mark.parametrize(("kind", "count"), [(GONE_BACK, 0), (TRIM, 1)])
def test_message_that_a_reader_first_has_from_a_repeat_is_not_swapped(history: History, kind: Kind, count: int) -> None:
    """It missed message 1, had 2, and Redis went back: 1 was published again."""
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    history.at(1).acked(1, 2)
    history.get(1, reader=two)
    history.one.observe(reset(("e", 1)))
    history.get(2)
    history.cause(kind, 2, 2.1)
    history.at(3).one.observe(reset(("f", 0)))
    history.one.observe(publication(1, "m-1", "f"))
    assert history.judge().count["swapped"] == count


@pytest.mark.parametrize(("first", "count"), [(1, 0), (3, 1)])
def test_repeat_reaches_a_slow_reader_with_the_first(history: History, first: float, count: int) -> None:
    """Another reader had message 1 before Redis went back; this one receives it, and it again, afterwards."""
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    history.cause(GONE_BACK, 2, 2.1)
    history.at(first).acked(1)
    history.get(1, reader=two)
    history.at(4).get(1)
    history.one.observe(reset(("f", 0)))
    history.one.observe(publication(1, "m-1", "f"))
    assert history.judge(by_feed=True).count["repeated"] == count


@pytest.mark.parametrize(("sent", "count"), [(1.5, 0), (2.5, 1)])
def test_repeat_of_what_was_published_before_redis_went_back(history: History, sent: float, count: int) -> None:
    """A paused gateway delivers it only after Redis went back and before the relay publishes it again."""
    history.cause(GONE_BACK, 2, 2.1)
    history.at(3).acked(1, took=3 - sent)
    history.at(4).get(1)
    history.one.observe(reset(("f", 0)))
    history.one.observe(publication(1, "m-1", "f"))
    assert history.judge(by_feed=True).count["repeated"] == count


def test_one_fault_excuses_one_repeat(history: History) -> None:
    """Redis was flushed while message 1 was being sent, and the message is in three epochs."""
    history.at(1).get(1)
    history.cause(FLUSH_AND_BACK, 2, 2.1)
    for epoch in ("f", "g"):
        history.at(3).one.observe(reset((epoch, 0)))
        history.one.observe(publication(1, "m-1", epoch))
    history.at(4).acked(1, took=3.5)
    assert history.judge(by_feed=True).count["repeated"] == 1


@pytest.mark.parametrize("abandoned", [True, False])
def test_stored_message_of_a_sender_that_finished_needs_no_ack(history: History, abandoned: bool) -> None:
    history.stored.append("m-1")
    if abandoned:
        history.ledger.abandoned.add("m-1")
    assert history.judge(by_feed=True).count["unpublished"] == (not abandoned)

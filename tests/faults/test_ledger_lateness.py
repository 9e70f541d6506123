"""Check when the ledger finds a delivery, a notice or a reconnection late."""

import pytest

from tests.faults.fabricated import (
    DROP,
    RELAY,
    RESTART,
    History,
    auth,
    reset,
)
from tests.support.ledger import Kind


@pytest.fixture
def history() -> History:
    return History()


def late(history: History, arrived: float) -> list[float]:
    """Return by how many seconds a message is late that was acked at 10."""
    history.at(10).acked(1)
    history.at(arrived).get(1)
    ledger = history.judge()
    assert ledger.problems == []
    return [round(one.by, 3) for one in ledger.late]


@pytest.mark.parametrize(("arrived", "by"), [(9, []), (11.9, []), (12.5, [0.5])])
def test_delivery_is_due_two_seconds_after_the_ack(history: History, arrived: float, by: list[float]) -> None:
    assert late(history, arrived) == by


@pytest.mark.parametrize(
    ("kind", "began", "ended", "due"),
    [
        (RESTART, 11, 14, 16),
        (RESTART, 9.95, 11, 13),  # it acted during the send
        (RESTART, 1, 9.7, 12),  # its effect ends before the budget of the delivery
        (RESTART, 12.5, 14, 12),  # it began once the delivery was due
        (RELAY, 8, 8, 13),
        (RELAY, 1, 1, 12),
    ],
)
def test_fault_postpones_a_delivery_by_its_budget(
    history: History, kind: Kind, began: float, ended: float, due: float
) -> None:
    history.cause(kind, began, ended)
    assert late(history, due + 0.5) == [0.5]


def test_fault_that_begins_before_another_has_settled_extends_it(history: History) -> None:
    history.cause(RESTART, 11, 14)
    history.cause(RESTART, 15.5, 16)
    history.cause(RESTART, 18.5, 19)
    assert late(history, 18.25) == [0.25]


def test_fault_of_another_reader_postpones_nothing(history: History) -> None:
    history.cause(RESTART, 9, 14, readers=["user 2"])
    assert late(history, 13) == [1.0]


def test_delivery_is_due_after_the_reader_is_authenticated(history: History) -> None:
    history.at(9.5).one.disconnected()
    history.at(10).acked(1)
    history.at(11).one.observe(auth(("e", 1), recovered=True, connection="c-2"))
    history.at(13.25).get(1)
    [one] = history.judge().late
    assert (one.by, one.due) == (0.25, 13.0)
    assert str(one) == "user 1: m-1 of g: 0.25 s after it was due"


@pytest.mark.parametrize(("ended", "by"), [(11, []), (18, [6.0])])
def test_connection_that_owed_the_delivery_is_judged_by_itself(history: History, ended: float, by: list[float]) -> None:
    history.at(10).acked(1)
    history.at(ended).one.disconnected()
    history.at(ended + 1).one.observe(auth(("e", 1), recovered=True, connection="c-2"))
    history.get(1)
    assert [one.by for one in history.judge().late] == by


def test_new_token_begins_no_connection(history: History) -> None:
    history.at(10).acked(1)
    history.at(12).one.observe({"type": "auth_success", "data": {"connection_id": "c-1"}})
    history.at(13).get(1)
    assert [one.by for one in history.judge().late] == [1.0]


def test_notice_of_a_loss_is_due_like_a_delivery(history: History) -> None:
    history.at(10).acked(1)
    history.cause(Kind("FLUSHALL", budget=12.0, loses=True), 10, 10)
    history.at(23).one.observe(reset(("e", 1)))
    assert [one.by for one in history.judge().late] == [1.0]


@pytest.mark.parametrize(("kind", "again", "by"), [(RESTART, 14.9, []), (RESTART, 16.5, [1.5]), (DROP, 29, [])])
def test_reader_is_connected_again_in_time(history: History, kind: Kind, again: float, by: list[float]) -> None:
    history.cause(kind, 9, 10)
    history.at(10).one.disconnected()
    history.at(again).one.observe(auth(("e", 0), recovered=True, connection="c-2"))
    history.one.disconnected(for_good=True)
    assert [one.by for one in history.at(100).judge().late] == by


@pytest.mark.parametrize(("asked", "again", "by"), [(8, 22.9, []), (8, 23.5, [0.5]), (3_600, 26, [1.0])])
def test_reader_waits_as_long_as_a_gateway_asks(history: History, asked: int, again: float, by: list[float]) -> None:
    """The gateway that shuts down may ask for ten seconds at most."""
    history.at(10).one.observe({"type": "shutdown", "data": {"retry_after": asked}})
    history.one.disconnected()
    history.at(again).one.observe(auth(("e", 0), recovered=True, connection="c-2"))
    history.one.disconnected(for_good=True)
    assert [one.by for one in history.at(100).judge().late] == by


def test_reader_that_never_connects_again_is_late(history: History) -> None:
    history.at(10).one.disconnected()
    assert [one.by for one in history.at(100).judge().late] == [85.0]


def test_lateness_is_no_broken_promise(history: History) -> None:
    history.at(1).acked(1)
    history.at(50).get(1)
    ledger = history.judge()
    assert (len(ledger.late), ledger.problems) == (1, [])

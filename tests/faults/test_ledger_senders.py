"""Check how the ledger judges ids, messages of senders that gave up, refusals, and frames that were lost on the way."""

import pytest

from tests.faults.fabricated import History, auth, publication
from tests.support.ledger import Kind

GENTLE = Kind("connections ended", refuses=False)
HARSH = Kind("Redis refused")
SKIPS = Kind("a frame was lost on the way", skips=True)
UNAVAILABLE = {"type": "error", "message_id": "f", "data": {"code": 503, "message": "later"}}


@pytest.fixture
def history() -> History:
    return History()


def test_two_messages_with_one_id_are_a_loss(history: History) -> None:
    history.at(1).get(1)
    history.at(1).acked(1)
    history.at(2).acked(1)
    assert history.judge().count["lost"] == 1


def test_message_of_a_sender_that_gave_up_is_owed(history: History) -> None:
    history.stored.append("m-1")
    history.ledger.abandoned = {"m-1"}
    history.ledger.left_behind("m-1", "g", 1.0)
    assert history.at(100).judge().count["lost"] == 1


def test_message_of_a_sender_that_gave_up_is_never_late(history: History) -> None:
    history.stored.append("m-1")
    history.ledger.abandoned = {"m-1"}
    history.ledger.left_behind("m-1", "g", 1.0)
    history.at(90).get(1)
    assert (history.judge(by_feed=True).problems, history.ledger.late) == ([], [])


def test_message_that_was_published_again_may_come_again(history: History) -> None:
    history.at(1).get(1)
    history.acked(1)
    history.ledger.published_again["m-1"] += 1
    history.at(50).one.observe(publication(2, "m-1"))
    assert history.judge(by_feed=True).problems == []
    history.one.observe(publication(3, "m-1"))
    assert history.judge(by_feed=True).count["repeated"] == 1


@pytest.mark.parametrize(("kind", "at", "count"), [(HARSH, 5, 0), (GENTLE, 5, 1), (HARSH, 60, 1)])
def test_refusal_needs_a_fault_that_refuses(history: History, kind: Kind, at: float, count: int) -> None:
    history.cause(kind, 1, 4)
    history.at(at).one.observe(UNAVAILABLE)
    history.ledger.judge_refusals()
    assert history.ledger.count["error"] == count


def test_lost_frame_is_owed_again_after_a_reconnection(history: History) -> None:
    history.acked(1, 2)
    history.cause(SKIPS, 0.5, 9, readers=["user 1"])
    history.at(1).get(2)
    history.at(2).one.disconnected()
    history.at(2).one.observe(auth(("e", 2), recovered=True, connection="c-2"))
    history.at(2).get(1, 2)
    assert history.judge().problems == []


def test_lost_frame_that_the_client_accepts_is_a_loss(history: History) -> None:
    history.acked(1, 2)
    history.cause(SKIPS, 0.5, 9, readers=["user 1"])
    history.at(1).get(2)
    assert history.at(20).judge().count["lost"] == 2


def test_loss_that_is_told_again_on_a_new_connection_is_found(history: History) -> None:
    history.cause(Kind("FLUSHALL", loses=True, unnoticed=12.0, forgets=True, repeats=True), 1, 1.1)
    history.at(2).one.disconnected()
    history.at(2).one.observe(auth(("e", 1), recovered=False, connection="c-2"))
    history.at(3).one.observe({"type": "feed_reset", "data": {"feed": "group:g", "epoch": "f", "offset": 0}})
    assert history.judge().count["unrecoverable without cause"] == 1

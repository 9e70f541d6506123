"""Check the ledger itself: for each rule a history that it must find, and one that it must excuse."""

from typing import Any

import pytest

from tests.support.ledger import Kind, Ledger, Place, Reader

FLUSH = Kind("FLUSHALL", loses=True, forgets=True)
TRIM = Kind("trim", loses=True)
RELAY = Kind("relay killed", budget=5.0)
RESTART = Kind("restart")
DROP = Kind("network dropped", connect=20.0)
CLOCK = Kind("clock set back", turns_clock=True)
Frame = dict[str, Any]


class History:
    """A fabricated run on its own clock: one chat group, one reader that is a member all the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ledger = Ledger(lambda: self.now, lambda: 1_000.0 + self.now)
        self.one = self.ledger.reader("user 1")
        self.stored: list[str] = []
        self.one.observe(auth(("e", 0)))

    def at(self, now: float) -> "History":
        self.now = now
        return self

    def acked(self, *numbers: int, took: float = 0.1, sender: str = "") -> None:
        for number in numbers:
            self.ledger.acked(f"m-{number}", "g", self.now - took, sender)
            self.stored.append(f"m-{number}")

    def cause(self, kind: Kind, began: float, ended: float, **scope: Any) -> None:
        cause = self.ledger.causes.begin(kind, **scope)
        cause.began, cause.ended = began, ended

    def get(self, *offsets: int, reader: Reader | None = None, epoch: str = "e") -> None:
        for offset in offsets:
            (reader or self.one).observe(publication(offset, epoch=epoch))

    def judge(self, *steady: str, by_feed: bool = False) -> Ledger:
        groups = {name: ["g"] for name in steady or ("user 1",)}
        self.ledger.judge({"g": self.stored}, groups, by_feed=by_feed)
        return self.ledger


def publication(offset: int, message_id: str = "", epoch: str = "e") -> Frame:
    data = {"message_id": message_id or f"m-{offset}", "group_id": "g"}
    return {"type": "new_message", "data": data, "feed": "group:g", "epoch": epoch, "offset": offset}


def removal(offset: int, user_id: int) -> Frame:
    data = {"group_id": "g", "user_id": user_id, "change": "removed"}
    return {"type": "group_member", "data": data, "feed": "group:g", "epoch": "e", "offset": offset}


def position(at: Place, recovered: bool | None) -> Frame:
    given = {"feed": "group:g", "epoch": at[0], "offset": at[1]}
    return given if recovered is None else {**given, "recovered": recovered}


def joined(at: Place, recovered: bool | None = None) -> Frame:
    return {"type": "group_joined", "data": position(at, recovered)}


def reset(at: Place) -> Frame:
    return {"type": "feed_reset", "data": position(at, False)}


def auth(at: Place | None, recovered: bool | None = None, connection: str = "c-1") -> Frame:
    feeds = [] if at is None else [position(at, recovered)]
    return {"type": "auth_success", "data": {"connection_id": connection, "feeds": feeds}}


LEFT: Frame = {"type": "group_left", "data": {"group_id": "g"}}


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


# Repeats, order, errors


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


# Lateness


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


def test_reader_that_never_connects_again_is_late(history: History) -> None:
    history.at(10).one.disconnected()
    assert [one.by for one in history.at(100).judge().late] == [85.0]


@pytest.mark.parametrize(("code", "count"), [(503, 0), (403, 0), (500, 1), (400, 1)])
def test_unexpected_error_is_a_problem(history: History, code: int, count: int) -> None:
    history.one.observe({"type": "error", "message_id": "c-1", "data": {"code": code, "message": "no"}})
    assert (history.judge().count["error"], history.ledger.errors[code]) == (count, 1)


@pytest.mark.parametrize(("code", "count"), [(1006, 0), (4501, 0), (4502, 0), (4500, 1), (4409, 1)])
def test_unexpected_close_is_a_problem(history: History, code: int, count: int) -> None:
    history.one.disconnected(code)
    history.one.observe(auth(("e", 0), recovered=True, connection="c-2"))
    assert history.judge().count["closed"] == count


def test_lateness_is_no_broken_promise(history: History) -> None:
    history.at(1).acked(1)
    history.at(50).get(1)
    ledger = history.judge()
    assert (len(ledger.late), ledger.problems) == (1, [])

"""Check that a short run of `make faults` keeps every promise; `make proofs` runs longer and judges takeovers."""

import time

import pytest

from tests.faults.faults import FAULTS, PLATFORM_FAULTS
from tests.faults.ledger import Ledger, Loss, Place
from tests.faults.plan import Outcome, Plan
from tests.faults.report import table
from tests.faults.run import run


async def test_each_fault_once_breaks_no_promise() -> None:
    plan = Plan(
        minutes=0.5, seed=3, rate=60, pause_seconds=2, most=len(FAULTS), least=300,
        settings="tests.faults.quick_settings",
    )  # fmt: skip
    outcome = await run(plan)
    assert outcome.problems() == [], table(plan, outcome)
    assert set(outcome.injected) == {fault.name for fault in FAULTS}
    assert len(outcome.ledger.sent) >= plan.least


async def test_each_platform_fault_once_breaks_no_promise() -> None:
    plan = Plan(
        minutes=0.5, seed=5, rate=60, platform=True, kinds=PLATFORM_FAULTS, most=len(PLATFORM_FAULTS), least=300,
        settings="tests.faults.quick_settings",
    )  # fmt: skip
    outcome = await run(plan)
    assert outcome.problems() == [], table(plan, outcome)
    assert set(outcome.injected) == {fault.name for fault in PLATFORM_FAULTS}
    assert len(outcome.ledger.sent) >= plan.least


def test_late_takeover_is_a_problem_if_judged() -> None:
    outcome = Outcome(Ledger(problems=["lost"]), takeovers=[1.0, 5.5])
    assert outcome.problems(takeover_seconds=5.0) == ["lost", "the standby relay took over after 5.5 s"]
    assert outcome.problems() == ["lost"]


def publication(offset: int, message_id: str = "", epoch: str = "e") -> dict[str, object]:
    data = {"message_id": message_id or f"m-{offset}", "group_id": "g"}
    return {"type": "new_message", "data": data, "feed": "group:g", "epoch": epoch, "offset": offset}


def joined(at: Place, recovered: bool | None = None) -> dict[str, object]:
    data: dict[str, object] = {"feed": "group:g", "epoch": at[0], "offset": at[1]}
    if recovered is not None:
        data["recovered"] = recovered
    return {"type": "group_joined", "data": data}


def judged(*frames: dict[str, object], stored: int = 3, losses: tuple[Loss, ...] = ()) -> Ledger:
    """Return a ledger after one reader received these frames; the messages m-1 to m-n were all acked."""
    ledger = Ledger(losses=list(losses))
    reader = ledger.reader("user 1")
    for frame in frames:
        reader.observe(frame)
    for number in range(1, stored + 1):
        ledger.acked(f"m-{number}", "g", began=1.0)
    ledger.judge({"g": [f"m-{number}" for number in range(1, stored + 1)]}, {"user 1": ["g"]})
    return ledger


START = joined(("e", 0))


def test_ledger_reports_no_problem_without_a_fault() -> None:
    ledger = judged(START, *(publication(n) for n in (1, 2)), joined(("e", 3), recovered=True), publication(3))
    assert ledger.problems == []


@pytest.mark.parametrize(
    ("count", "frames"),
    [
        ("lost", [publication(1), publication(2)]),
        ("gap", [publication(1), publication(3)]),
        ("repeated", [publication(1), publication(2), publication(2), publication(3)]),
        ("repeated", [publication(1), publication(2), publication(3), publication(4, "m-1")]),
        ("swapped", [publication(1), publication(2, "m-3"), publication(3, "m-2")]),
        ("unrecoverable without cause", [publication(1), joined(("e", 3), recovered=False)]),
        ("unrecoverable without cause", [publication(1), joined(("other", 3))]),
    ],
)
def test_ledger_reports_each_broken_promise(count: str, frames: list[dict[str, object]]) -> None:
    ledger = judged(START, *frames)
    assert ledger.count[count] > 0
    assert ledger.problems


def test_loss_excuses_one_unrecovered_answer_per_reader() -> None:
    lost = joined(("e", 3), recovered=False)
    assert judged(START, publication(1), lost, losses=(Loss(0.0, "group:g"),)).problems == []
    again = [publication(4, "m-4"), joined(("e", 9), recovered=False)]
    ledger = judged(START, publication(1), lost, *again, losses=(Loss(0.0),))
    assert ledger.count["unrecoverable without cause"] == 1
    ledger = judged(START, publication(1), lost, losses=(Loss(0.0, "group:other"),))
    assert ledger.count["unrecoverable without cause"] == 1


def test_acked_message_missing_from_history_is_lost() -> None:
    ledger = Ledger()
    ledger.acked("m-1", "g", began=1.0)
    ledger.judge({"g": []}, {})
    assert ledger.count["lost"] == 1


def by_feed(places: dict[str, list[tuple[str, int]]], sent: list[tuple[str, str]], stored: list[str]) -> Ledger:
    """Return a ledger of publishing gateways: by reader its messages and offsets; the acked messages and senders."""
    ledger = Ledger()
    for name, seen in places.items():
        reader = ledger.reader(name)
        reader.observe(START)
        for message_id, offset in seen:
            reader.observe(publication(offset, message_id))
    for message_id, sender in sent:
        ledger.acked(message_id, "g", 1.0, sender)
    ledger.judge({"g": stored}, {name: ["g"] for name in places}, by_feed=True)
    return ledger


def test_feed_order_is_judged_per_sender_and_reader() -> None:
    sent, stored = [("m-1", "a"), ("m-2", "b"), ("m-3", "a")], ["m-2", "m-3", "m-1"]
    good = [("m-2", 1), ("m-1", 2), ("m-3", 3)]
    assert by_feed({"one": good, "two": good}, sent, stored).problems == []
    other = [("m-1", 1), ("m-2", 2), ("m-3", 3)]
    assert by_feed({"one": good, "two": other}, sent, stored).count["swapped"] == 2
    turned = [("m-2", 1), ("m-3", 2), ("m-1", 3)]
    assert by_feed({"one": turned}, sent, stored).count["swapped"] == 1


@pytest.mark.parametrize(("forgets", "count"), [(True, "forgotten"), (False, "repeated")])
def test_flushall_excuses_a_repeat_if_redis_forgets(forgets: bool, count: str) -> None:
    ledger = Ledger(forgets=forgets)
    reader, other = ledger.reader("one"), ledger.reader("two")
    for frame in (START, publication(1)):
        for each in (reader, other):
            each.observe(frame)
    ledger.losses.append(Loss(time.monotonic()))
    reader.observe(joined(("other", 0)))
    reader.observe(publication(1, epoch="other"))
    ledger.acked("m-1", "g", 1.0)
    ledger.judge({"g": ["m-1"]}, {"one": ["g"], "two": ["g"]}, by_feed=True)
    swapped = 0 if forgets else 1  # one reader has its old offset, the other its new one
    assert (ledger.count[count], ledger.count["swapped"], bool(ledger.problems)) == (1, swapped, not forgets)


def test_error_for_an_already_stored_message_is_a_problem() -> None:
    ledger = Ledger()
    reader = ledger.reader("one")
    now = time.time()
    reader.acks = {"c-1": "m-1", "c-2": "m-2", "c-3": "m-3"}
    reader.errors = [("c-1", now + 5), ("c-2", now + 5), ("c-3", now + 5), ("c-4", now + 5)]
    for number in (1, 2, 3):
        ledger.acked(f"m-{number}", "g", time.monotonic(), "one")
    ledger.judge_errors({"m-1": int(now) + 1, "m-2": int(now) + 6, "m-3": int(now) - 3_600})
    assert ledger.count["error though stored"] == len(ledger.problems) == 1


def test_stored_unpublished_message_is_a_problem() -> None:
    ledger = by_feed({"one": [("m-1", 1)]}, [("m-1", "a")], ["m-1", "m-2"])
    assert ledger.count["unpublished"] == 1


def test_delivery_after_a_removal_is_a_leak() -> None:
    ledger = Ledger()
    other, removed = ledger.reader("user 1"), ledger.reader("user 2")
    removal = {
        "type": "group_member", "data": {"group_id": "g", "user_id": 2, "change": "removed"}, "feed": "group:g",
        "epoch": "e", "offset": 1,
    }  # fmt: skip
    for frame in (START, removal, publication(2)):
        other.observe(frame)
    for frame in (START, removal):
        removed.observe(frame)
    groups: dict[str, list[str]] = {"user 1": [], "user 2": []}
    ledger.judge({"g": ["m-2"]}, groups)
    assert ledger.count["leaked"] == 0
    removed.observe(publication(2))
    ledger.judge({"g": ["m-2"]}, groups)
    assert ledger.count["leaked"] == 1


def test_every_fault_occurs_in_each_round() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) == 16
    assert len({fault.name for fault in PLATFORM_FAULTS}) == len(PLATFORM_FAULTS) == 11
    assert all(fault.times > 0 for fault in FAULTS + PLATFORM_FAULTS)

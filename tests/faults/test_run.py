"""Check that a short run of `make faults` keeps every promise; `make proofs` runs longer and judges takeovers."""

from tests.faults.faults import FAULTS
from tests.faults.plan import Outcome, Plan
from tests.faults.platform_faults import PLATFORM_FAULTS
from tests.faults.report import table
from tests.faults.run import run
from tests.support.ledger import Ledger
from tests.support.ledger.lateness import Late


async def test_each_fault_once_breaks_no_promise() -> None:
    plan = Plan(
        minutes=0.5, seed=3, rate=60, pause_seconds=2, most=len(FAULTS), least=300,
        settings="tests.faults.quick_settings", check_seconds=1.0,
    )  # fmt: skip
    outcome = await run(plan)
    assert outcome.problems() == [], table(plan, outcome)
    assert set(outcome.injected) == {fault.name for fault in FAULTS}
    assert len(outcome.ledger.sent) >= plan.least


async def test_each_platform_fault_once_breaks_no_promise() -> None:
    plan = Plan(
        minutes=0.5, seed=5, rate=60, platform=True, kinds=PLATFORM_FAULTS, most=len(PLATFORM_FAULTS), least=300,
        settings="tests.faults.quick_settings", check_seconds=1.0,
    )  # fmt: skip
    outcome = await run(plan)
    assert outcome.problems() == [], table(plan, outcome)
    assert set(outcome.injected) == {fault.name for fault in PLATFORM_FAULTS}
    assert len(outcome.ledger.sent) >= plan.least


def test_late_is_a_problem_only_if_judged() -> None:
    outcome = Outcome(Ledger(), takeovers=[1.0, 5.5])
    outcome.ledger.problem("lost")
    outcome.ledger.late += [Late("a", 1.0, 3.0), Late("b", 2.0, 3.0)]
    assert outcome.problems() == ["lost"]
    late = ["the standby relay took over after 5.5 s", "b: 2.00 s after it was due", "a: 1.00 s after it was due"]
    assert outcome.problems(timed=True) == ["lost", *late]


def test_every_fault_occurs_in_each_round() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) == 19
    assert len({fault.name for fault in PLATFORM_FAULTS}) == len(PLATFORM_FAULTS) == 11
    assert all(fault.times > 0 for fault in FAULTS + PLATFORM_FAULTS)

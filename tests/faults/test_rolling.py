"""Check a small rolling restart of three gateways; `make proofs` uses 3,000 clients and judges the share."""

from pathlib import Path

import pytest

from tests.faults.rolling import GATEWAYS, Outcome, Plan, Rolling
from tests.support.ledger import Ledger


@pytest.mark.ours_only
async def test_rolling_restart_loses_nothing(tmp_path: Path) -> None:
    plan = Plan(clients=60, leaving=20, retry_seconds=1, slack_seconds=120)
    outcome = await Rolling(plan, tmp_path)()
    assert outcome.problems(plan.clients) == []
    assert outcome.statuses == (0,) * GATEWAYS
    assert outcome.reconnected >= plan.clients
    assert len(outcome.ledger.sent) >= GATEWAYS * plan.least


def test_each_failure_of_a_rolling_restart_is_reported() -> None:
    ledger = Ledger()
    ledger.problem("lost: a message")
    assert Outcome(ledger, disconnected=46, returned=299, statuses=(0, -9, 1)).problems(300, share=15) == [
        "gateway 2 ended with exit status -9",
        "gateway 3 ended with exit status 1",
        "299 of 300 clients reconnected",
        "46 of 300 clients were disconnected at a time: more than 15% (--share)",
        "lost: a message",
    ]
    assert Outcome(Ledger(), disconnected=45, returned=300, statuses=(0, 0, 0)).problems(300, share=15) == []
    assert Outcome(Ledger(), disconnected=46, returned=300, statuses=(0, 0, 0)).problems(300, share=16) == []
    assert Outcome(Ledger(), disconnected=300, returned=300, statuses=(0, 0, 0)).problems(300) == []

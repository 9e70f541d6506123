"""A rolling restart of three gateways, small; `make rolling` runs it with 3,000 clients."""

from pathlib import Path

import pytest

from tests.faults.ledger import Ledger
from tests.faults.rolling import GATEWAYS, Outcome, Plan, Rolling


@pytest.mark.timeout(240)
@pytest.mark.ours_only
async def test_a_rolling_restart_loses_nothing_and_sends_few_away_at_a_time(tmp_path: Path) -> None:
    outcome = await Rolling(Plan(clients=300, leaving=10, retry_seconds=1), tmp_path)()
    assert outcome.problems(300) == [], "a gateway sends ten away a second, which are back two seconds later"
    assert outcome.statuses == (0,) * GATEWAYS
    assert outcome.reconnected >= 300, "each was sent away at least once"
    assert len(outcome.ledger.sent) > 100


def test_too_many_away_an_exit_status_and_what_the_ledger_found_are_problems() -> None:
    ledger = Ledger(problems=["lost: a message"])
    assert Outcome(ledger, away=46, statuses=(0, -9, 1)).problems(300) == [
        "gateway 2 ended with exit status -9",
        "gateway 3 ended with exit status 1",
        "46 of 300 clients were away at a time: more than 15% (--share)",
        "lost: a message",
    ]
    assert Outcome(Ledger(), away=45, statuses=(0, 0, 0)).problems(300) == []
    assert Outcome(Ledger(), away=46, statuses=(0, 0, 0)).problems(300, share=16) == []

"""A rolling restart of three gateways, small; `make rolling` runs it with 3,000 clients."""

from pathlib import Path

import pytest

from tests.faults.rolling import GATEWAYS, Plan, Rolling


@pytest.mark.timeout(180)
@pytest.mark.ours_only
async def test_a_rolling_restart_loses_nothing_and_sends_few_away_at_a_time(tmp_path: Path) -> None:
    outcome = await Rolling(Plan(clients=90, leaving=10, retry_seconds=1), tmp_path)()
    assert outcome.ledger.problems == []
    assert outcome.statuses == (0,) * GATEWAYS
    assert outcome.reconnected >= 90, "each was sent away at least once"
    assert outcome.away <= 45, "a gateway sends ten away a second, which are back two seconds later"
    assert len(outcome.ledger.sent) > 100

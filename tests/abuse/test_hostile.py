"""Serve honest clients beside some hostile requests and sockets; `make proofs` makes thousands and judges the times."""

from pathlib import Path

import pytest

from tests.abuse.hostile import MOST_GROWTH_MB, Hostile, Plan, table


@pytest.mark.ours_only
async def test_honest_clients_are_served_beside_hostile_ones(tmp_path: Path) -> None:
    plan = Plan(clients=20, count=240, seconds=8, quiet_seconds=1, patience=5, seed=3)
    outcome = await Hostile(plan, tmp_path)()
    shown = table(plan, outcome)
    assert outcome.refused == [], shown
    assert (outcome.missed, outcome.unacked) == (0, 0), shown
    assert outcome.made.total() == plan.count, shown
    assert len(outcome.made) == 16, shown
    assert outcome.growth < MOST_GROWTH_MB * 1e6, shown

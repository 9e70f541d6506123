"""Check a short run in which Redis answers every kind of error; `make proofs` runs each for ten seconds."""

from pathlib import Path

import pytest

from tests.faults.redis_errors import Run
from tests.faults.redis_report import problems


@pytest.mark.ours_only
async def test_errors_of_redis_end_nothing(tmp_path: Path) -> None:
    outcome = await Run(tmp_path, seconds=1.0, seed=5)()
    assert problems(outcome, seconds=None) == []
    assert len(outcome.rows) == 12

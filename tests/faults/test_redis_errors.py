"""Check a short run in which Redis answers every kind of error; `make proofs` runs each for ten seconds."""

from pathlib import Path

import pytest

from tests.faults.redis_errors import MIXED, Run
from tests.faults.redis_report import problems
from tests.support.redis_errors import ELEVEN


@pytest.mark.ours_only
@pytest.mark.parametrize("kinds", [ELEVEN[:4], ELEVEN[4:8], (*ELEVEN[8:], MIXED)], ids=["writes", "states", "others"])
async def test_errors_of_redis_end_nothing(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    outcome = await Run(tmp_path, seconds=1.5, seed=5, kinds=kinds)()
    assert problems(outcome, seconds=None) == []

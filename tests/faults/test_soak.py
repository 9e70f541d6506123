"""A short soak; `make soak` goes on for as long as it is told."""

from pathlib import Path

import pytest

from tests.faults.soak import Soak


@pytest.mark.ours_only
@pytest.mark.timeout(300)
async def test_connections_that_came_and_went_leave_nothing(tmp_path: Path) -> None:
    soak = Soak(tmp_path, users=60, groups=12)
    before, after = await soak.run(minutes=1, most=1_000)
    assert soak.connections >= 500
    assert soak.acked > 0
    assert (before.feeds, after.feeds) == (0, 0)
    assert after.keys == before.keys
    grown = {name: after.memory[name] - size for name, size in before.memory.items()}
    assert {name: size for name, size in grown.items() if size >= 20_000_000} == {}

"""Check a short soak; `make proofs` runs for minutes with production's timers."""

from pathlib import Path

import pytest

from tests.faults.soak import Soak, grown, left_behind


@pytest.mark.ours_only
async def test_closed_connections_leave_nothing_behind(tmp_path: Path) -> None:
    soak = Soak(tmp_path, users=60, groups=12, settings="tests.faults.quick_settings")
    before, after = await soak.run(most=400)
    assert soak.connections >= 400
    assert soak.acked > 0
    assert (before.feeds, after.feeds) == (0, 0)
    assert after.keys == before.keys
    assert left_behind(before, after) == []
    assert grown(before, after) == []

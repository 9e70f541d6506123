"""A few thousand frames of nonsense; `make fuzz` sends a million."""

from pathlib import Path

import pytest

from tests.abuse import fuzz

GROWTH = 40_000_000
"""Bytes that a gateway may take while it gets to know what nonsense there is."""


@pytest.mark.ours_only
def test_nonsense_is_refused_and_nothing_else_happens(tmp_path: Path) -> None:
    seen, memory = fuzz.run(5_000, 11, tmp_path)
    assert seen.sent >= 5_000
    assert {"error 400", "ack", "pong", "auth_success"} <= seen.answers.keys()
    assert memory[-1] - memory[0] < GROWTH

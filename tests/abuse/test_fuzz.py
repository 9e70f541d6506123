"""Send a few thousand malformed frames; `make proofs` sends half a million, `make fuzz` any number."""

from pathlib import Path

import pytest

from tests.abuse import fuzz


@pytest.mark.ours_only
def test_fuzzed_frames_are_rejected_without_side_effects(tmp_path: Path) -> None:
    seen, _ = fuzz.run(5_000, 11, tmp_path)
    assert seen.sent >= 5_000
    assert {"error 400", "ack", "pong", "auth_success"} <= seen.answers.keys()

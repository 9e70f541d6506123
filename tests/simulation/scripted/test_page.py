"""docs/mended-bugs.md lists every bug and its history."""

import subprocess
import sys

from tests.simulation.scripted.bug import ROOT

COMMAND = [sys.executable, "-m", "tests.simulation.scripted", "--table"]


def test_page_has_the_present_table() -> None:
    table = subprocess.run(COMMAND, capture_output=True, text=True, check=True, cwd=ROOT, timeout=300).stdout
    is_present = table in (ROOT / "docs/mended-bugs.md").read_text()
    assert is_present, "put what `python -m tests.simulation.scripted --table` prints into docs/mended-bugs.md"

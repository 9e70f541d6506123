"""Check that memory of large blocks goes back to the system."""

import subprocess
import sys

import pytest

GROWS = """
import sys
from pathlib import Path
from realtime.server.memory import return_large_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "returned":
    return_large_blocks()
before = resident()
large, small = [], []
for _ in range(1_000):
    large.append(b"x" * 100_000)
    small.append(b"y" * 600)
large.clear()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the C library is another")
@pytest.mark.parametrize(("way", "least", "most"), [("returned", 0, 20e6), ("kept", 50e6, 120e6)])
def test_large_blocks_leave_no_memory_behind(way: str, least: float, most: float) -> None:
    printed = subprocess.run([sys.executable, "-c", GROWS, way], capture_output=True, text=True, check=True).stdout
    assert least <= int(printed) <= most

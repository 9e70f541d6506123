"""Worlds from seeds keep every promise; a seed gives the same world in each run, and on each Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORLDS = 12
HANGS = 900
"""After so many seconds the command hangs."""
DEVELOPMENT = ROOT / ".venv/bin/python"


def simulate(*arguments: str, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
    """Run the command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CHATWS"))}
    return subprocess.run(
        [python, "-m", "tests.simulation", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=HANGS,
    )  # fmt: skip


def test_worlds_keep_every_promise() -> None:
    done = simulate("--seeds", str(WORLDS), "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| worlds | {WORLDS} |" in done.stdout


def test_same_seed_gives_the_same_world() -> None:
    """Compare every byte that crossed the network of two worlds, each run twice, with objects at other addresses."""
    done = simulate("--seeds", "2", "--first", "9", "--twice", "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", [4, 6, 10])
def test_same_seed_gives_the_same_world_on_two_pythons(seed: int) -> None:
    """Compare with the Python of the development environment, which `make pythons` runs this test beside.

    The worlds 4 and 6 are shuffled; 6 and 10 have the `wait_for` of Python 3.11, and 4 has that of later ones.
    """
    first, second = (simulate("--digest", str(seed), python=python) for python in (sys.executable, str(DEVELOPMENT)))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout == second.stdout


def test_seed_is_replayed_with_its_log() -> None:
    done = simulate("--seed", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is up" in done.stdout
    assert "seed 10: " in done.stdout

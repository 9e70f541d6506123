"""Worlds from seeds keep every promise; a seed gives the same world in each run, and on each Python."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.run import plan_of_seed

ROOT = Path(__file__).parents[2]
FIRST, WORLDS = 7, 8
"""Two worlds of scenes, three of storms and three long calm ones: about 45 seconds."""
HANGS = 900
"""After so many seconds the command hangs."""
LONGEST, STEPS = 400, range(200, 600)
"""The seconds and the steps of a short world in which much happens."""
DEVELOPMENT = ROOT / ".venv/bin/python"


def simulate(*arguments: str, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
    """Run the command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CHATWS"))}
    return subprocess.run(
        [python, "-m", "tests.simulation", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=HANGS,
    )  # fmt: skip


def test_worlds_keep_every_promise() -> None:
    done = simulate("--first", str(FIRST), "--seeds", str(WORLDS), "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| worlds | {WORLDS} |" in done.stdout


def test_same_seed_gives_the_same_world() -> None:
    """Compare every byte that crossed the network of two worlds, each run twice, with objects at other addresses."""
    done = simulate("--seeds", "2", "--first", "9", "--twice", "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def short_seed(*, shuffled: bool) -> int:
    """Return the first seed of a world that takes a few seconds."""
    plans = map(plan_of_seed, itertools.count(1))
    return next(
        plan.seed for plan in plans
        if plan.shape.shuffled == shuffled and plan.end < LONGEST and len(plan.steps) in STEPS
    )  # fmt: skip


@pytest.mark.parametrize("shuffled", [False, True])
def test_same_seed_gives_the_same_world_on_two_pythons(shuffled: bool) -> None:
    """Compare with the Python of the development environment, which `make pythons` runs this test beside."""
    seed = str(short_seed(shuffled=shuffled))
    first, second = (simulate("--digest", seed, python=python) for python in (sys.executable, str(DEVELOPMENT)))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout == second.stdout


def test_seed_is_replayed_with_its_log() -> None:
    done = simulate("--seed", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is up" in done.stdout
    assert "seed 10: " in done.stdout

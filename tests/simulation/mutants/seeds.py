"""Run worlds with the code as this process has loaded it, until one breaks a promise.

Two of three seeds are worlds of scenes; of the others only the first storm is run. Many short worlds find a defect
sooner than few long ones.
"""

import select
import time
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tests.simulation.outcome import Outcome

SEED_SECONDS = 120.0
"""Seconds of this machine after which a world counts as stuck."""
SHOWN = 140


class Search(msgspec.Struct, frozen=True):
    """How many worlds ran; the last of them is that of ``seed`` if it broke a promise, and ``problem`` says how."""

    ran: int
    seed: int | None = None
    problem: str = ""


def search(seeds: Iterable[int], scenes: Collection[str] = ()) -> Search:
    """Run these seeds one after the other, each in a forked child, and stop at the first that breaks a promise.

    If there are ``scenes``, worlds without any of them are left out.
    """
    from tests.simulation import run  # only now: a mutant has to be switched on before

    run.prepare()
    ran = 0
    for seed in seeds:
        if scenes and not has_one(seed, scenes):
            continue
        ran += 1
        if problem := _problem_of(seed):
            return Search(ran, seed, problem)
    return Search(ran)


def has_one(seed: int, scenes: Collection[str]) -> bool:
    """Return whether the world of a seed has one of these scenes."""
    from tests.simulation.scenes.plan import plan_of_scenes

    return bool(seed % 3) and any(step.what in scenes for step in plan_of_scenes(seed).steps)


def short_world(seed: int) -> "Outcome":
    """Run the world of a seed; in this process, as `run.run_seed`."""
    from tests.simulation import run
    from tests.simulation.scenes.plan import plan_of_scenes

    if seed % 3:
        return run.run_plan(plan_of_scenes(seed))
    plan = run.plan_of_seed(seed)
    end = plan.rounds[0]
    return run.run_plan(replace(plan, steps=tuple(step for step in plan.steps if step.at <= end), rounds=(end,)))


def _problem_of(seed: int) -> str:
    """Return the first broken promise of a world, on one line; empty if there is none."""
    from tests.simulation.forking import Child, ChildFailed

    child, deadline = Child(lambda: short_world(seed)), time.monotonic() + SEED_SECONDS
    is_over = False
    while not is_over:
        ready, _, _ = select.select([child.pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            child.kill()
            return f"the world is stuck: it did not end in {SEED_SECONDS:.0f} s"
        is_over = child.read()
    try:
        problems = child.result().problems
    except ChildFailed as error:
        return "the world failed: " + str(error).strip().rpartition("\n")[2][:SHOWN]
    return " ".join(problems[0].split())[:SHOWN] if problems else ""

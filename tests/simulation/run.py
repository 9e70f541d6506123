"""Run worlds: from a seed or a plan, in a child process, twice to compare, or often to find a shorter plan."""

from functools import partial

import django

from tests.simulation.forking import in_child, stirred
from tests.simulation.outcome import Outcome
from tests.simulation.plan import Plan, plan_of
from tests.simulation.shrink import shortest

OF_SCENES = 4
"""One of so many worlds is one of scenes."""


def prepare() -> None:
    """Import everything that worlds use, and create the tables, once for all children."""
    django.setup(set_prefix=False)
    from tests.simulation import database, world  # noqa: F401  # they need Django's apps

    database.create()


def plan_of_seed(seed: int) -> Plan:
    """Return the plan of a seed; one of `OF_SCENES` is a world of scenes (`tests.simulation.scenes`)."""
    from tests.simulation.actions import ACTIONS
    from tests.simulation.faults import FAULTS
    from tests.simulation.scenes.plan import plan_of_scenes

    if seed % OF_SCENES == 0:
        return plan_of_scenes(seed)
    return plan_of(
        seed, {name: weight for name, (_, weight) in FAULTS.items()},
        {name: weight for name, (_, weight) in ACTIONS.items()},
    )  # fmt: skip


def run_seed(seed: int) -> Outcome:
    """Run the world of a seed, in this process: it changes settings and clocks for good."""
    return run_plan(plan_of_seed(seed))


def run_plan(plan: Plan) -> Outcome:
    """Run a plan, in this process; see `run_seed`."""
    from tests.simulation.world import World

    return World(plan).run()


def run_twice(seed: int) -> Outcome:
    """Run the world of a seed in two children; it is a problem if a byte differs.

    In the second one new objects get other addresses, on which nothing may depend.
    """
    plan = plan_of_seed(seed)
    first, second = in_a_child(plan), in_child(partial(stirred, partial(run_plan, plan)))
    if first.digest != second.digest:
        first.problems.append(f"the same seed gave two worlds: {first.digest} and {second.digest}")
    return first


def in_a_child(plan: Plan) -> Outcome:
    """Run a plan in a child."""
    return in_child(partial(run_plan, plan))


def shrunk(outcome: Outcome, seconds: float) -> Plan:
    """Return a shorter plan of a failed world, found within so many seconds of this machine."""
    return shortest(plan_of_seed(outcome.seed), outcome.problems, in_a_child, seconds)

"""`python -m tests.simulation`: run worlds from seeds, and report every broken promise with what replays it."""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Sequence
from functools import partial

ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # sets of texts then have one order
    "DJANGO_SETTINGS_MODULE": "config.settings.test",
    "DATABASE_URL": "sqlite://:memory:",
}
SHRINK_SECONDS = 60.0
SEEDS = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="make simulate", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--seeds", type=int, default=0, help=f"how many worlds (default: {SEEDS})")
    parser.add_argument("--minutes", type=float, default=0.0, help="run as many worlds as fit into this time")
    parser.add_argument("--seed", type=int, default=None, help="replay one world, with its whole log")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="worlds at a time (default: the cores)"
    )
    parser.add_argument("--shrink", type=float, default=SHRINK_SECONDS, help="seconds to look for a shorter plan")
    parser.add_argument("--digest", type=int, default=None, help="print only the digest of a world")
    parser.add_argument("--twice", action="store_true", help="run each world twice, and compare every byte")
    given = parser.parse_args(arguments)
    from tests.simulation import run

    run.prepare()
    if given.digest is not None:
        sys.stdout.write(f"{run.in_a_child(run.plan_of_seed(given.digest)).digest}\n")
        return 0
    if given.seed is not None:
        return _replay(given.seed, given.shrink)
    return _many(given)


def _replay(seed: int, shrink: float) -> int:
    from tests.simulation import run
    from tests.simulation.outcome import failure

    outcome = run.in_a_child(run.plan_of_seed(seed))
    sys.stdout.write("\n".join(outcome.events) + "\n" if outcome.events else "")
    sys.stdout.write(f"seed {seed}: {outcome.seconds:.0f} s, digest {outcome.digest}\n")
    if outcome.problems:
        sys.stdout.write(failure(outcome, run.shrunk(outcome, shrink)) + "\n")
    return 1 if outcome.problems else 0


def _many(given: argparse.Namespace) -> int:
    from tests.simulation import run
    from tests.simulation.forking import in_children
    from tests.simulation.outcome import Total, failure

    total, began = Total(), time.monotonic()
    deadline = began + given.minutes * 60 if given.minutes else float("inf")
    count = given.seeds or (sys.maxsize if given.minutes else SEEDS)
    seeds = itertools.islice(itertools.count(given.first), count)
    work = run.run_twice if given.twice else run.run_seed
    for outcome in in_children((partial(work, seed) for seed in seeds), given.workers, deadline):
        total.add(outcome)
        if outcome.problems:
            sys.stdout.write(failure(outcome, run.shrunk(outcome, given.shrink)) + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"{total.table()}\n| seconds of this machine | {time.monotonic() - began:,.0f} |\n")
    return 1 if total.failed else 0


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], os.environ | ENVIRONMENT)
    sys.exit(main())

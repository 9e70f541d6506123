"""`python -m tests.simulation.mutants`: put defects into the code, and count the seeds until the simulation sees them.

`--mutant NAME` runs one in this process and prints its result as JSON; `--all` and `--guards` print a table. A seed
counts if it breaks a promise with the mutant and none without it.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import msgspec

from tests.simulation.__main__ import ENVIRONMENT
from tests.simulation.mutants import running
from tests.simulation.mutants.catalogue import MUTANTS
from tests.simulation.mutants.loading import switch_on
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.mutants.seeds import search

SEEDS = "1-2000"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 1 if a mutant was not caught."""
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").partition(": ")[2])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--mutant", choices=MUTANTS, metavar="NAME", help="run this one")
    which.add_argument("--sound", action="store_true", help="run the code as it is")
    which.add_argument("--all", action="store_true", help="run all")
    which.add_argument("--guards", action="store_true", help="run those that switch off a guard")
    parser.add_argument("--only", default="", help="with --all and --guards: those whose name contains this")
    parser.add_argument("--seeds", default=SEEDS, help=f"such as 7 or 1-20,33 (default: {SEEDS})")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    given = parser.parse_args(arguments)
    if given.mutant or given.sound:
        return _one(MUTANTS[given.mutant] if given.mutant else None, seeds_of(given.seeds))
    chosen = [one for one in MUTANTS.values() if given.only in one.name and (one.guard or not given.guards)]
    return _many(chosen, given)


def seeds_of(text: str) -> list[int]:
    """Return the seeds of a list of numbers and ranges."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _one(mutant: Mutant | None, seeds: Sequence[int]) -> int:
    if mutant is not None:
        switch_on(mutant)
    found = search(seeds, mutant.scenes if mutant is not None else ())
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return int(found.seed is None)


def _many(mutants: Sequence[Mutant], given: argparse.Namespace) -> int:
    found: list[running.Result] = []
    for one in running.results(mutants, seeds_of(given.seeds), given.at_once):
        found.append(one)
        sys.stderr.write(f"{len(found)}/{len(mutants)} {one.mutant.name}: {one.search} {one.failure}\n")
    caught = sum(one.was_caught for one in found)
    sys.stdout.write(running.table(found, guards=given.guards) + f"\n\n{caught} of {len(found)} caught\n")
    return int(caught < len(found))


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.simulation.mutants", *sys.argv[1:]], os.environ | ENVIRONMENT
        )  # fmt: skip
    sys.exit(main())

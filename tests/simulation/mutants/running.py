"""Run many mutants, each in a process of its own, and report them as a table in Markdown."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import msgspec
from msgspec import structs

from tests.simulation.mutants.mutant import ROOT, Mutant
from tests.simulation.mutants.seeds import Search


@dataclass(frozen=True, slots=True)
class Result:
    """What the seeds said of a mutant. ``failure``: why they could not run; empty if they did."""

    mutant: Mutant
    search: Search
    failure: str = ""

    @property
    def was_caught(self) -> bool:
        return self.search.seed is not None


def results(mutants: Sequence[Mutant], seeds: Sequence[int], at_once: int) -> Iterator[Result]:
    """Yield the result of each mutant as it ends, ``at_once`` processes at a time."""
    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(_result, mutant, seeds) for mutant in mutants]
        for ended in as_completed(running):
            yield ended.result()


def _result(mutant: Mutant, seeds: Sequence[int]) -> Result:
    """Search until a seed breaks a promise with the mutant, and keeps all of them without it."""
    ran, left = 0, list(seeds)
    try:
        while left:
            found = _searched(left, "--mutant", mutant.name)
            ran += found.ran
            if found.seed is None or _searched([found.seed], "--sound").seed is None:
                return Result(mutant, structs.replace(found, ran=ran))
            left = left[left.index(found.seed) + 1 :]
        return Result(mutant, Search(ran))
    except ValueError as error:
        return Result(mutant, Search(ran), str(error))


def _searched(seeds: Sequence[int], *options: str) -> Search:
    command = [sys.executable, "-m", "tests.simulation.mutants", *options, "--seeds", ",".join(map(str, seeds))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    try:
        return msgspec.json.decode(ended.stdout.strip().rpartition("\n")[2], type=Search)
    except msgspec.DecodeError:
        raise ValueError(ended.stderr.strip().rpartition("\n")[2] or "no output") from None


def table(found: Sequence[Result], *, guards: bool = False) -> str:
    """Return the results in Markdown, those that were caught first first; with ``guards`` in the words of a guard."""
    heads = ("guard", "without it") if guards else ("mutant", "breaks")
    lines = [f"| {' | '.join(heads)} | worlds | seed | found |", "| --- | --- | --: | --: | --- |"]
    for one in sorted(found, key=lambda one: (not one.was_caught, one.search.ran, one.mutant.name)):
        seed = str(one.search.seed) if one.was_caught else "not seen"
        what = (one.search.problem or one.failure).replace("|", "\\|")
        lines.append(f"| {one.mutant.name} | {one.mutant.breaks} | {one.search.ran} | {seed} | {what} |")
    return "\n".join(lines)

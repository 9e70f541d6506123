"""Mutants are run, and reported as a table."""

from collections.abc import Sequence

import pytest

from tests.simulation.mutants import running, seeds
from tests.simulation.mutants.catalogue import MUTANTS
from tests.simulation.mutants.running import Result, results, table
from tests.simulation.mutants.seeds import Search

FIRST, SECOND, THIRD = list(MUTANTS.values())[:3]


def test_those_caught_soonest_come_first() -> None:
    found = [
        Result(FIRST, Search(200)),
        Result(SECOND, Search(30, 31, "reader 1 received a|b twice")),
        Result(THIRD, Search(2, 2, "lost")),
    ]
    assert table(found).splitlines() == [
        "| mutant | breaks | worlds | seed | found |",
        "| --- | --- | --: | --: | --- |",
        f"| {THIRD.name} | {THIRD.breaks} | 2 | 2 | lost |",
        rf"| {SECOND.name} | {SECOND.breaks} | 30 | 31 | reader 1 received a\|b twice |",
        f"| {FIRST.name} | {FIRST.breaks} | 200 | not seen |  |",
    ]


def test_failure_to_run_is_shown() -> None:
    assert "| 0 | not seen | ImportError |" in table([Result(FIRST, Search(0), "ImportError")], guards=True)


@pytest.mark.parametrize("name", ["sending-keeps-finished-attempts", "hub-jumps-over-a-gap"])
def test_mutant_is_caught_within_a_few_worlds(name: str) -> None:
    some = [seed for seed in range(1, 300) if seed % 3]  # worlds of scenes, which are short
    [result] = results([MUTANTS[name]], some, at_once=1)
    assert result.was_caught, result


def test_only_worlds_with_a_scene_of_the_mutant_are_run() -> None:
    name = "membership-takes-any-answer"
    without = [seed for seed in range(1, 20) if not seeds.has_one(seed, MUTANTS[name].scenes)]
    assert 3 in without, "only worlds of scenes have scenes"
    [result] = results([MUTANTS[name]], without, at_once=1)
    assert result.search == Search(0)


def test_seed_that_is_not_sound_without_the_mutant_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(seeds: Sequence[int], *options: str) -> Search:
        if options == ("--sound",):
            return Search(1, seeds[0], "late") if seeds[0] == 4 else Search(1)
        return Search(2, 4, "late") if 4 in seeds else Search(len(seeds), seeds[-1], "lost")

    monkeypatch.setattr(running, "_searched", searched)
    [result] = results([FIRST], [3, 4, 5, 6], at_once=1)
    assert result.search == Search(4, 6, "lost")


def test_mutant_is_not_caught_where_only_unsound_seeds_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_searched", lambda seeds, *options: Search(len(seeds), seeds[-1], "late"))
    [result] = results([FIRST], [3, 4], at_once=1)
    assert (result.was_caught, result.search.ran) == (False, 2)

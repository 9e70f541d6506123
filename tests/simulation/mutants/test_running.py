"""The table of mutants."""

from tests.simulation.mutants.catalogue import MUTANTS
from tests.simulation.mutants.running import Result, table
from tests.simulation.mutants.seeds import Search

FIRST, SECOND, THIRD = list(MUTANTS.values())[:3]


def test_those_caught_soonest_come_first() -> None:
    found = [
        Result(FIRST, Search(200)),
        Result(SECOND, Search(30, 30, "reader 1 received a|b twice")),
        Result(THIRD, Search(2, 2, "lost")),
    ]
    assert table(found).splitlines() == [
        "| mutant | breaks | seeds until it is caught | found |",
        "| --- | --- | --: | --- |",
        f"| {THIRD.name} | {THIRD.breaks} | 2 | lost |",
        rf"| {SECOND.name} | {SECOND.breaks} | 30 | reader 1 received a\|b twice |",
        f"| {FIRST.name} | {FIRST.breaks} | not in 200 |  |",
    ]


def test_failure_to_run_is_shown() -> None:
    assert "| not in 0 | ImportError |" in table([Result(FIRST, Search(0), "ImportError")], guards=True)

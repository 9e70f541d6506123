"""Functions in children: what they return, and memory in another order."""

from itertools import pairwise

import pytest

from tests.simulation.forking import ChildFailed, in_child, stirred


class Thing:
    """Hashed by its address."""

    def __init__(self, number: int) -> None:
        self.number = number


def order() -> list[int]:
    return [thing.number for thing in {Thing(number) for number in range(20)}]


def test_child_returns_or_raises() -> None:
    assert in_child(lambda: 1 + 1) == 2
    with pytest.raises(ChildFailed, match="ZeroDivisionError"):
        in_child(lambda: 1 // 0)


def test_stirred_memory_gives_a_set_another_order() -> None:
    found = in_child(lambda: stirred(order))
    assert sorted(found) == list(range(20))
    follow = sum(after == before + 1 for before, after in pairwise(found))
    assert follow < 10, "objects made one after the other lie side by side"

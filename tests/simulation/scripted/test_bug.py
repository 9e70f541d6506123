"""A bug's lines are found exactly once, and its functions, constants and scripts are those that run."""

from functools import partial

import pytest

from realtime.aio import tasks
from realtime.aio.backoff import Backoff
from realtime.feeds import log
from tests.simulation.forking import in_child
from tests.simulation.scripted.bug import Bug, NotBroughtBack, changes_of

TEXT = "def one():\n    if a:\n        b()\n\n\ndef two():\n    b()\n"


def changed(diff: str, text: str = TEXT) -> str:
    for change in changes_of(diff):
        text = change.apply(text)
    return text


def test_lines_are_replaced_with_their_indentation() -> None:
    assert changed("a.py\n- if a:\n-     b()\n+ c()") == TEXT.replace("    if a:\n        b()", "    c()")


def test_lines_around_a_change_find_it() -> None:
    assert changed("a.py\n  def two():\n-     b()\n+     c()") == TEXT.replace("two():\n    b()", "two():\n    c()")


@pytest.mark.parametrize("diff", ["a.py\n- b()\n+ c()", "a.py\n- d()\n+ c()"], ids=["twice", "never"])
def test_lines_that_do_not_occur_once_are_an_error(diff: str) -> None:
    with pytest.raises(NotBroughtBack, match="not once"):
        changed(diff)


def test_change_without_effect_is_an_error() -> None:
    diff = "realtime/aio/backoff.py\n- self.wait = self._first\n+ self.wait = self._first  # as before"
    with pytest.raises(NotBroughtBack, match="has changed"):
        Bug("a bug", "never", diff).bring_back()


def brought_back(diff: str) -> tuple[float, float, bool]:
    Bug("a bug", "never", diff).bring_back()
    backoff = Backoff(1.0, 8.0)
    backoff.take()
    return backoff.wait, tasks.HEALTHY_SECONDS, b"not emptied" in log._feed_append._source.encode()


@pytest.mark.parametrize(
    ("diff", "expected"),
    [
        (
            "realtime/aio/backoff.py\n- self.wait = min(2 * wait, self._longest)\n+ self.wait = 3 * wait",
            (3.0, 60.0, False),
        ),
        ("realtime/aio/tasks.py\n- HEALTHY_SECONDS = 60.0\n+ HEALTHY_SECONDS = 5.0", (2.0, 5.0, False)),
        ("realtime/redis/lua/feed_begin.lua\n- redis.call('LTRIM', log, 1, 0)\n+ -- not emptied", (2.0, 60.0, True)),
    ],
    ids=["function", "constant", "included script"],
)
def test_changed_code_runs(diff: str, expected: tuple[float, float, bool]) -> None:
    assert in_child(partial(brought_back, diff)) == expected

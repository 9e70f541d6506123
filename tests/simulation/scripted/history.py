"""A history as a test: it keeps every promise as the code is, and breaks one with each bug that it was written for."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import pytest

from tests.simulation.__main__ import ENVIRONMENT
from tests.simulation.scripted.bug import Bug

Tell = Callable[[Any], None]
"""A function that tells a history in a `Story`; it may assert what the oracle doesn't know."""
SHOWN_LINES = 60


@dataclass(frozen=True, slots=True)
class History:
    """A history, the world that it needs, and the bugs that it shows."""

    tell: Tell
    world: dict[str, Any]
    bugs: tuple[Bug, ...]

    @property
    def name(self) -> str:
        return f"{self.tell.__module__}:{self.tell.__name__}"

    def run(self, bug: Bug | None, **options: Any) -> tuple[list[str], list[str]]:
        """Run it in this process, which can't be used for another one; return what is broken, and the world's log.

        ``options``: of the `Stage`, such as another seed.
        """
        from tests.simulation.scripted.story import Story

        story = Story(**self.world, **options)
        if bug is not None:
            bug.bring_back()
        story.begin()
        try:
            self.tell(story)
        except AssertionError:
            return [traceback.format_exc(limit=-1), *story.world.ledger.problems], list(story.world.log.lines)
        return story.end(), list(story.world.log.lines)


def history(*bugs: Bug, **world: Any) -> Callable[[Tell], Callable[..., None]]:
    """Make a test of a function that tells a history: it runs once as the code is, and once with each bug."""

    def decorate(tell: Tell) -> Callable[..., None]:
        told = History(tell, world, bugs)

        @pytest.mark.parametrize("bug", [None, *bugs], ids=lambda bug: bug.name if bug else "mended")
        def test(bug: Bug | None, host: "Host") -> None:
            found, lines = host.run(told, bug)
            if bug is None:
                assert not found, "\n".join([*found, "the last events:", *lines[-SHOWN_LINES:]])
            else:
                assert found, "\n".join(["nothing is broken with this bug", *lines[-SHOWN_LINES:]])

        test.__doc__, test.__module__ = tell.__doc__, tell.__module__
        test.history = told  # type: ignore[attr-defined]
        return test

    return decorate


def find(name: str) -> History:
    """Return a history by its name, ``module:function``."""
    module, _, function = name.partition(":")
    found: History = getattr(import_module(module), function).history
    return found


class Host:
    """A process that has imported everything, and forks a child for each run of a history."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, told: History, bug: Bug | None) -> tuple[list[str], list[str]]:
        """Return what is broken in a history, and the last lines of its log."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        number = -1 if bug is None else told.bugs.index(bug)
        self._process.stdin.write(f"{told.name} {number}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the host of the histories has ended; what it printed is above"
        problem, found, lines = json.loads(answer)
        assert not problem, problem
        return found, lines


@contextmanager
def hosted() -> Iterator[Host]:
    """Run a host until the end of the block."""
    command = [sys.executable, "-m", "tests.simulation.scripted", "--serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | ENVIRONMENT
    ) as process:  # fmt: skip
        yield Host(process)
        assert process.stdin is not None
        process.stdin.close()


def serve() -> None:
    """Answer the requests of a `Host` on standard input, until it ends."""
    from tests.simulation import run
    from tests.simulation.forking import ChildFailed, in_child

    run.prepare()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a history prints is no answer
    for line in sys.stdin:
        name, number = line.split()
        told = find(name)
        try:
            found, lines = in_child(partial(told.run, told.bugs[int(number)] if int(number) >= 0 else None))
            answer = ["", found, lines[-SHOWN_LINES:]]
        except ChildFailed as error:
            answer = [str(error), [], []]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

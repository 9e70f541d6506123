"""The two kinds of `asyncio.wait_for` do what those of the Pythons do, turn by turn."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.simulation.test_loop import Machine
from tests.simulation.waits import wait_here, wait_in_a_task

REAL: Any = asyncio.wait_for
OURS: Any = wait_here if sys.version_info >= (3, 12) else wait_in_a_task
TURNS = 12
KINDS = pytest.mark.parametrize("wait_for", [wait_in_a_task, wait_here])


async def answers_at_once() -> str:
    return "answer"


async def answers_later() -> str:
    await asyncio.sleep(0)
    return "answer"


async def fails() -> str:
    await asyncio.sleep(0)
    raise OSError("failed")


async def never_answers() -> str:
    await asyncio.sleep(60)
    return "never"


async def answers_when_cancelled() -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(0)
    return "answer"


async def fails_when_cancelled() -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise OSError("failed") from None
    return "never"


WORKS = [answers_at_once, answers_later, fails, never_answers, answers_when_cancelled, fails_when_cancelled]


def turns(wait_for: Any, work: Callable[[], Awaitable[str]], timeout: float | None, cancelled_in: int) -> list[str]:
    """Return what happens in each turn. The caller is cancelled in the given turn; 0: not at all."""
    seen: list[str] = []

    async def call() -> None:
        try:
            seen.append(await wait_for(work(), timeout))
        except BaseException as error:
            seen.append(repr(error))
            if isinstance(error, asyncio.CancelledError):
                raise

    async def main() -> None:
        caller = asyncio.get_running_loop().create_task(call())
        for turn in range(1, TURNS):
            if turn == cancelled_in:
                caller.cancel()
            await asyncio.sleep(0)
            seen.append(f"turn {turn}")
        await asyncio.wait([caller])
        seen.append(f"cancelled: {caller.cancelled()}")

    Machine().run(main())
    return seen


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("timeout", [None, 1.0])
@pytest.mark.parametrize("cancelled_in", range(6))
def test_this_pythons_kind_does_what_this_python_does(
    work: Callable[[], Awaitable[str]], timeout: float | None, cancelled_in: int
) -> None:
    assert turns(OURS, work, timeout, cancelled_in) == turns(REAL, work, timeout, cancelled_in)


@KINDS
@pytest.mark.parametrize(("work", "seen"), [(answers_later, "answer"), (fails, "OSError('failed')")])
def test_answer_and_error_are_passed_on(wait_for: Any, work: Callable[[], Awaitable[str]], seen: str) -> None:
    assert seen in turns(wait_for, work, 1.0, 0)


@KINDS
def test_silence_times_out(wait_for: Any) -> None:
    assert "TimeoutError()" in turns(wait_for, never_answers, 1.0, 0)


def test_kinds_take_different_turns() -> None:
    assert turns(wait_in_a_task, answers_at_once, 1.0, 0) != turns(wait_here, answers_at_once, 1.0, 0)

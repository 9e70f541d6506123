"""Check work that is requested again while it runs."""

import asyncio
from collections.abc import Sequence

import pytest

from realtime.aio.coalesce import Rerun, TurnBatch
from realtime.exceptions import TransientError
from tests.support.waiting import until


async def test_calls_during_a_run_share_one_more_run() -> None:
    runs: list[int] = []
    goes_on = asyncio.Event()

    async def work() -> None:
        runs.append(len(runs))
        await goes_on.wait()

    rerun = Rerun(work, "work")
    rerun.ask()
    await until(lambda: runs == [0], what="it runs")
    for _ in range(3):
        rerun.ask()
    goes_on.set()
    await until(lambda: rerun.task is None, what="it has ended")
    assert runs == [0, 1]


async def test_failure_loses_no_wake_up() -> None:
    runs: list[int] = []
    goes_on = asyncio.Event()

    async def work() -> None:
        runs.append(len(runs))
        await goes_on.wait()
        raise ValueError

    rerun = Rerun(work, "work")
    rerun.ask()
    await until(lambda: runs == [0], what="it runs")
    rerun.ask()
    goes_on.set()
    await until(lambda: rerun.task is None, what="it has ended")
    assert runs == [0, 1]


async def test_questions_of_one_turn_share_one_call() -> None:
    calls: list[list[int]] = []

    async def answer_all(items: Sequence[int]) -> list[int]:
        calls.append([*items])
        return [2 * item for item in items]

    batch: TurnBatch[int, int] = TurnBatch(answer_all, "doubling")
    assert await asyncio.gather(*(batch.ask(number) for number in (1, 2, 1))) == [2, 4, 2]
    assert await batch.ask(3) == 6
    assert calls == [[1, 2, 1], [3]]


async def test_failed_call_fails_each_question() -> None:
    async def answer_all(items: Sequence[int]) -> list[int]:
        raise ValueError("no")

    batch: TurnBatch[int, int] = TurnBatch(answer_all, "failing")
    answers = await asyncio.gather(batch.ask(1), batch.ask(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError]


async def test_cancelled_call_is_a_transient_error() -> None:
    begun = asyncio.Event()

    async def answer_all(items: Sequence[int]) -> list[int]:
        begun.set()
        await asyncio.Event().wait()
        return []

    batch: TurnBatch[int, int] = TurnBatch(answer_all, "waiting")
    asking = asyncio.create_task(batch.ask(1))
    await begun.wait()
    [answering] = [task for task in asyncio.all_tasks() if task.get_name() == "waiting"]
    answering.cancel()
    with pytest.raises(TransientError):
        await asking


async def test_wrong_number_of_answers_fails_each_question() -> None:
    async def answer_all(items: Sequence[int]) -> list[int]:
        return [1]

    batch: TurnBatch[int, int] = TurnBatch(answer_all, "miscounting")
    answers = await asyncio.gather(batch.ask(1), batch.ask(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError]


async def test_swallowed_cancellation_loses_no_wake_up() -> None:
    """redis-py can turn a time-out into a CancelledError that nobody asked for."""
    runs: list[int] = []

    async def work() -> None:
        runs.append(len(runs))
        if len(runs) == 1:
            rerun.ask()
            raise asyncio.CancelledError

    rerun = Rerun(work, "work")
    rerun.ask()
    await until(lambda: rerun.task is None, what="it has ended")
    assert runs == [0, 1]

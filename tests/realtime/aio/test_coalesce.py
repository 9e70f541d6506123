"""Check work that is requested again while it runs."""

import asyncio

from realtime.aio.coalesce import Rerun
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

"""Check the states of dependencies: one that hangs or whose check fails changes nothing of the others."""

import asyncio

import pytest

from realtime.aio import tasks
from realtime.observability import dependencies
from realtime.observability.dependencies import Dependencies
from tests.support.waiting import until


async def test_failing_and_hanging_checks_delay_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(dependencies, "INTERVAL_SECONDS", 0)
    answers = 0

    async def well() -> str:
        nonlocal answers
        answers += 1
        return "ok"

    async def hangs() -> str:
        await asyncio.Event().wait()
        return "ok"

    async def fails() -> str:
        raise RuntimeError("the channel is closed")

    watched = Dependencies({"fails": fails, "hangs": hangs, "well": well})
    watching = asyncio.create_task(watched.run())
    await until(lambda: answers >= 3 or watching.done(), what="all are asked again and again")
    assert not watching.done()
    await tasks.end([watching])
    assert watched.states == {
        "fails": "unavailable: the channel is closed", "hangs": "no answer within 0.05 s", "well": "ok",
    }  # fmt: skip
    assert watched.have_answered("well")
    assert not watched.have_answered("hangs")

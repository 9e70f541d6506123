"""Check background and supervised tasks."""

import asyncio
from types import SimpleNamespace

import pytest

from realtime.aio import tasks
from realtime.observability import log_context, metrics


async def test_background_task_has_no_connection_context() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def work() -> None:
        heard.put_nowait(log_context.connection_id.get())

    log_context.connection_id.set("whose frame began it")
    await tasks.spawn(work(), "work")
    await tasks.Group().spawn(work(), "work of a group")
    assert [heard.get_nowait(), heard.get_nowait()] == ["", ""]


async def test_supervised_task_restarts_after_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_WAIT", 0.01)
    outcomes: list[BaseException | None] = [ValueError("a defect"), asyncio.CancelledError(), None]
    before = metrics.task_failures.labels("work")._value.get()

    async def work() -> None:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    await tasks.supervise(work, "work")
    assert outcomes == []
    assert metrics.task_failures.labels("work")._value.get() - before == 2


async def test_supervised_task_backs_off_until_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    healthy = iter((0.0, 0.0, 0.0, tasks.HEALTHY_SECONDS, None))
    now = 0.0

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def work() -> None:
        nonlocal now
        if (seconds := next(healthy)) is not None:
            now += seconds
            raise ValueError

    monkeypatch.setattr(tasks, "asyncio", SimpleNamespace(
        sleep=sleep, get_running_loop=lambda: SimpleNamespace(time=lambda: now), CancelledError=asyncio.CancelledError,
    ))  # fmt: skip
    await tasks._supervised(work, "work")
    assert waits == [0.5, 1.0, 2.0, 0.5]


async def test_cancelled_supervised_task_ends() -> None:
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    task = tasks.supervise(work, "work")
    await began.wait()
    await tasks.end([task])
    assert task.cancelled()

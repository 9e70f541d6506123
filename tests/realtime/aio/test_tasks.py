"""Background tasks."""

import asyncio

from realtime.aio import tasks
from realtime.observability import log_context


async def test_a_background_task_is_nobody_s_connection() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def work() -> None:
        heard.put_nowait(log_context.connection_id.get())

    log_context.connection_id.set("whose frame began it")
    await tasks.spawn(work(), "work")
    await tasks.Group().spawn(work(), "work of a group")
    assert [heard.get_nowait(), heard.get_nowait()] == ["", ""]

"""Check how the metrics are rendered."""

import asyncio
import re

from prometheus_client import REGISTRY, generate_latest

from realtime.observability import metrics


async def test_rendering_lets_others_run() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(others())
    rendered = await metrics.render()
    beside.cancel()
    names = re.findall(rb"# TYPE (\S+)", rendered)
    assert names == re.findall(rb"# TYPE (\S+)", generate_latest(REGISTRY))
    assert turns >= len(list(REGISTRY.collect())) - 1 > 10

"""Check the order of a draining gateway's steps with everything around it replaced."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings

from realtime.node import node as module
from realtime.node.node import DRAIN_STEP, Node


@pytest.mark.parametrize(
    ("per_second", "seconds", "steps"),
    [
        (20, 30, [2] * 15),  # in batches of the setting's size
        (20, 2, [3] * 10),  # larger if that would exceed the deadline
        (500, 30, [30]),
    ],
)
async def test_draining_closes_connections_in_batches(
    monkeypatch: pytest.MonkeyPatch, per_second: float, seconds: float, steps: list[int]
) -> None:
    sent_away: list[int] = []
    by_step: list[int] = []
    node: Any = SimpleNamespace(
        conf=replace(settings.REALTIME, drain_per_second=per_second, drain_seconds=seconds, drain_retry_seconds=7),
        draining=False, empty=asyncio.Event(),
    )  # fmt: skip
    node.connections = {number: SimpleNamespace(send_away=sent_away.append) for number in range(30)}

    async def step(pause: float) -> None:
        if not node.connections or not sent_away:
            return  # before the first is closed
        assert pause == (DRAIN_STEP if len(sent_away) < 30 else 0)
        by_step.append(len(sent_away) - sum(by_step))
        if len(sent_away) == 30:
            node.empty.set()

    monkeypatch.setattr(module, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": step}))
    await Node.drain(node)
    assert node.draining
    assert by_step == steps
    assert set(sent_away) <= set(range(1, 8))

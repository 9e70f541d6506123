"""Replace what would leave the world: clocks, random bytes, host names, threads, sockets and the machine's memory."""

import asyncio
import datetime as real_datetime
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from chatws.management.commands import relay_stream
from realtime.auth import tokens
from realtime.node import admission, node
from realtime.redis import pool
from realtime.relay import topic
from tests.simulation import waits
from tests.simulation.process import Process
from tests.simulation.scheduler import START, Scheduler
from tests.simulation.tokens import principal_of

MEMORY = 100_000_000
"""What every process takes for its memory, in bytes."""


class LeftTheWorld(RuntimeError):
    """Code of a process used a thread, a real socket or a real sleep."""


@contextmanager
def installed(scheduler: Scheduler) -> Iterator[None]:
    """Put these replacements in the place of the real ones."""
    draws = scheduler.draws("the world")

    def running() -> Process | None:
        return scheduler.running.process if scheduler.running is not None else None

    def wall() -> float:
        process = running()
        return process.wall() if process is not None else START + scheduler.now

    def monotonic() -> float:
        return scheduler.now

    def urandom(count: int) -> bytes:
        process = running()
        return (process.random if process is not None else draws).randbytes(count)

    def host_name() -> str:
        process = running()
        return process.name if process is not None else "world"

    class Datetime(real_datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.fromtimestamp(wall(), tz)

    def refused(*args: Any, **options: Any) -> Any:
        raise LeftTheWorld("a process of the world used a thread, a real socket or a real sleep")

    def get_channel_layer(*_: Any) -> Any:
        process = running()
        assert process is not None
        return process.layers["default"]

    async def resolve(token: str, keys: Any) -> Any:
        return principal_of(token, wall())

    wait_for = waits.wait_in_a_task if scheduler.draws("wait_for").random() < 0.5 else waits.wait_here
    random.seed(f"{scheduler.seed}:module")
    replacements: list[tuple[Any, str, Any]] = [
        (time, "time", wall), (time, "monotonic", monotonic), (time, "perf_counter", monotonic),
        (time, "time_ns", lambda: int(wall() * 1e9)), (time, "sleep", refused),
        (os, "urandom", urandom), (random, "_urandom", urandom),
        (socket.socket, "connect", refused), (socket.socket, "bind", refused),
        (socket, "gethostname", host_name),
        (topic, "datetime", Datetime),
        (pool, "_is_closed", lambda end: end is None or end.is_closed),
        (admission, "resident_memory", lambda: MEMORY), (node, "resident_memory", lambda: MEMORY),
        (node, "get_channel_layer", get_channel_layer), (relay_stream, "get_channel_layer", get_channel_layer),
        (tokens, "resolve", resolve),
        (asyncio, "to_thread", refused), (asyncio, "wait_for", wait_for),
    ]  # fmt: skip
    with_all = [patch.object(where, name, new) for where, name, new in replacements]
    for one in with_all:
        one.start()
    try:
        yield
    finally:
        for one in reversed(with_all):
            one.stop()

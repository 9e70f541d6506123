"""Report the relay's rate and lag in the log and in metrics."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from realtime.exceptions import TransientError
from realtime.observability import metrics
from realtime.relay.worker import TopicWorker

logger = logging.getLogger(__name__)


async def report(workers: Sequence[TopicWorker[Any]], every: float = 60.0) -> None:
    """Log one line every ``every`` seconds: each topic's rate since the last line, and how many entries wait."""
    before = {worker.topic.name: worker.relayed for worker in workers}
    since = time.monotonic()
    while True:
        await asyncio.sleep(every)
        seconds, since = time.monotonic() - since, time.monotonic()
        parts = []
        for worker in workers:
            name = worker.topic.name
            rate = (worker.relayed - before[name]) / seconds
            before[name] = worker.relayed
            try:
                lag: object = await worker.topic.lag()
            except TransientError as error:
                lag = f"unknown ({error})"
            parts.append(f"{name} {rate:.1f}/s lag {lag}")
        logger.info("relay: %s", ", ".join(parts))


async def watch_lag(workers: Sequence[TopicWorker[Any]], every: float = 1.0) -> None:
    """Update lag and length of every topic, including topics that another relay holds and topics that fail."""
    while True:
        for worker in workers:
            try:
                lag, length = await worker.topic.lag(), await worker.topic.length()
            except TransientError:
                continue
            else:
                metrics.relay_lag.labels(worker.topic.name).set(lag or 0)
                metrics.topic_entries.labels(worker.topic.name).set(length)
        await asyncio.sleep(every)

"""Measure the relay: the rate of events from a topic to its feeds, and the lag after a burst."""

import os

from benchmarks import machine, relay
from benchmarks.figures import Figure, Outcome
from benchmarks.machine import Bench
from realtime.layers.redis_pubsub import RedisPubSubLayer


async def relaying(events: int, rounds: int) -> Outcome:
    """Measure the relay from a topic with a backlog to its feeds."""
    figure = Figure("relay, topic to published, 200 feeds", "ours", "events/s", goal="20,000/s")
    lags = Figure("relay, lag of the next event after a burst", "ours", "ms", goal="under 1,000")
    for _ in range(rounds):
        with Bench() as bench:
            layer = RedisPubSubLayer(hosts=[bench.redis_url])
            os.sched_setaffinity(0, {machine.SERVER_CORE})
            try:
                rate, lag = await relay.measure(bench.redis_url, layer, events, 200)
            finally:
                os.sched_setaffinity(0, machine.other_cores())
            figure.values.append(rate)
            lags.values.append(1_000 * lag)
            await layer.flush()
    figure.met, lags.met = figure.median >= 20_000, max(lags.values) < 1_000
    lags.note = f"{events:,} events, through after {events / figure.median:.1f} s"
    return Outcome([figure, lags])

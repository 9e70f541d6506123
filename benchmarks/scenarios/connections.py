"""Measure connections: the memory of an idle one, and the rate at which they open and resume."""

import asyncio

from benchmarks.figures import Figure, Outcome
from benchmarks.load import Load
from benchmarks.machine import Bench
from benchmarks.servers import Ours
from realtime.conf import RealtimeConf
from realtime.feeds.log import FeedLog
from tests.support.client import make_token


async def idle_memory() -> Outcome:
    """Measure the memory of an authenticated connection in 10 feeds, its user's feed included."""
    connections = 10_000
    with Bench() as bench:
        server = Ours(bench, each=9, feeds=1_000)
        before = server.process.cost().rss
        load = Load(server.port, server.path, connections, ready=server.ready, at_once=50)
        await load.open(server.first(range(1, connections + 1)))
        await asyncio.sleep(3)
        size = (server.process.cost().rss - before) / connections / 1024
        await load.close()
        await server.close()
    figure = Figure("idle connection in 10 feeds", "ours", "KiB of RSS", [size], "30 or less, then 20", size <= 30)
    return Outcome([figure])


async def accepting(rounds: int) -> Outcome:
    """Measure how fast connections open and authenticate, and how 5,000 reconnect at once and resume."""
    outcome = Outcome()
    rate = Figure("connections accepted and authenticated", "ours", "connections/s", goal="1,000/s")
    for _ in range(rounds):
        with Bench() as bench:
            server = Ours(bench)
            load = Load(server.port, server.path, 3_000, ready=server.ready, at_once=100)
            report = await load.open(server.first(range(1, 3_001)))
            rate.values.append(report.ready / report.ready_seconds)
            await load.close()
            await server.close()
    rate.met = rate.median >= 1_000
    outcome.figures.append(rate)
    with Bench() as bench:
        server = Ours(bench, feeds=500)
        log = FeedLog(server.redis, RealtimeConf(redis_url=bench.redis_url, jwt_secret=""))
        places = {number: await log.ensure(f"group:g{number}") for number in range(500)}
        await server.publish_to([f"group:g{number}" for number in range(500)] * 5)
        first = [
            f'{{"type":"auth","message_id":"a","data":{{"token":"{make_token(user, 7_200)}","resume":{{"group:g'
            f'{user % 500}":{{"epoch":"{places[user % 500].epoch}","offset":0}}}}}}}}'
            for user in range(1, 5_001)
        ]
        load = Load(server.port, server.path, 5_000, ready=server.ready, at_once=5_000)
        report = await load.open(first)
        await asyncio.sleep(2)
        report = await load.report()
        outcome.figures.append(
            Figure(
                "5,000 reconnect at once and resume 5 messages each", "ours", "s until all are served",
                [report.ready_seconds], goal="none times out, all recover",
                met=(report.ready, report.received, report.unordered) == (5_000, 25_000, 0),
                note=f"{report.refused} refused, {report.received:,} of 25,000 messages recovered, "
                f"slowest {report.becoming_ready['max'] / 1000:.1f} s",
            )
        )  # fmt: skip
        await load.close()
        await server.close()
    return outcome

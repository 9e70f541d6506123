"""One function for each goal of docs/performance.md; each answers figures of one run, all sides measured in it."""

import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks import machine, relay
from benchmarks.fanout import Result, across_feeds, at_rate, saturate
from benchmarks.load import Load, Report
from benchmarks.machine import Bench
from benchmarks.servers import LONG_AGO, Nchan, NodeWs, Ours, Server, Tutorial, production
from chatws.events.routes import ROUTES
from realtime.conf import RealtimeConf
from realtime.feeds.log import FeedLog
from realtime.layers.redis_pubsub import RedisPubSubLayer
from tests.support.chat import Chat
from tests.support.client import make_token
from tests.support.redis import free_port

Make = Callable[[Bench], Server]
TUTORIAL = "tutorial, core layer"


@dataclass
class Figure:
    """One line of the table. ``values`` are the runs'; the goal is of their median."""

    what: str
    server: str
    unit: str
    values: list[float] = field(default_factory=list)
    goal: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass
class Outcome:
    """What a scenario found: figures, and points for a plot as (series, x, y)."""

    figures: list[Figure] = field(default_factory=list)
    points: list[tuple[str, float, float]] = field(default_factory=list)


def peers() -> dict[str, Make]:
    """The peers that can be had here."""
    found: dict[str, Make] = {
        name: (lambda bench, name=name: Tutorial(bench, name))  # type: ignore[misc]
        for name in Tutorial.layers
    }
    for name, kind in (("Node ws", NodeWs), ("nchan", Nchan)):
        problem = kind.install()
        if problem:
            print(f"left out: {name}: {problem}")
        else:
            found[name] = kind
    return found


@asynccontextmanager
async def opened(
    make: Make, connections: int, *, users: Iterable[int] | None = None, stalled: int = 0, **options: Any
) -> AsyncIterator[tuple[Any, Load, Bench]]:
    """A server with so many welcomed connections, a moment after the last came."""
    with Bench() as bench:
        server = make(bench)
        if server.ready:
            options["ready"] = server.ready
        load = Load(server.port, server.path, connections, stalled=stalled, **{"at_once": 50, **options})
        first = server.first(list(users or range(1, connections + 1)))
        report = await load.open(first)
        assert report.refused == 0, f"{server.name}: {report.refused} of {connections} were refused"
        await asyncio.sleep(1)
        try:
            yield server, load, bench
        finally:
            await load.close()
            await server.close()


async def fan_out(servers: dict[str, Make], seconds: float, rounds: int, members: int = 1_000) -> Outcome:
    """As fast as all members take it, one message in flight (w1) and ten (w10)."""
    results: dict[tuple[str, int], list[Result]] = {}
    for _ in range(rounds):
        for name, make in servers.items():
            async with opened(make, members, step=members) as (server, load, _):
                for window in (1, 10):
                    found = await saturate(server, load, window, seconds)
                    results.setdefault((name, window), []).append(found)
                    print(f"  {name}, w{window}: {found.rate:,.0f}/s, {found.cpu_us:.1f} us, {found.lost} lost")
    outcome = Outcome()
    medians = {key: statistics.median(one.rate for one in some) for key, some in results.items()}
    goals = {
        ("ours", 1): [(TUTORIAL, 30.0), ("Node ws", 1.0)],
        ("ours", 10): [(TUTORIAL, 150.0), ("nchan", 3.0)],
        ("ours on plain daphne", 1): [(TUTORIAL, 6.0)],
        ("ours on plain daphne", 10): [(TUTORIAL, 15.0)],
    }
    for (name, window), some in results.items():
        wanted = [(peer, times) for peer, times in goals.get((name, window), []) if (peer, window) in medians]
        ratios = [(peer, times, medians[name, window] / medians[peer, window]) for peer, times in wanted]
        outcome.figures.append(
            Figure(
                f"fan-out to {members:,} members, w{window}", name, "deliveries/s", [one.rate for one in some],
                goal="; ".join(f"{times:g} x {peer}: {ratio:.1f} x" for peer, times, ratio in ratios),
                met=all(ratio >= times for _, times, ratio in ratios) if ratios else None,
                note=f"{statistics.median(one.cpu_us for one in some):.1f} us of server CPU each, "
                f"{sum(one.lost for one in some):,} lost, load generator {max(one.load_busy for one in some):.0%}",
            )
        )  # fmt: skip
    return outcome


async def flatness(seconds: float, rounds: int) -> Outcome:
    """What a delivery costs with more members, and beside idle feeds: no more than a quarter over the cheapest."""
    cases = [(f"{members:,} members", members, 0) for members in (100, 1_000, 10_000)]
    cases += [(f"1,000 members, {idle:,} idle feeds", 1_000, idle) for idle in (1_000, 10_000)]
    costs: dict[str, list[float]] = {}
    for name, members, idle in cases * rounds:
        # The idle feeds are those of one more user, who hears nothing of the loaded one.
        users = [*range(1, members), LONG_AGO] if idle else [*range(1, members + 1)]
        listening = members - (1 if idle else 0)
        make = partial(Ours, many=idle)
        async with opened(make, members, users=users, step=listening) as (server, load, _):
            found = await saturate(server, load, 10, seconds)
        costs.setdefault(name, []).append(found.cpu_us * members / listening)
    outcome = Outcome()
    least = min(statistics.median(values) for values in costs.values())
    for name, members, idle in cases:
        cost = statistics.median(costs[name])
        outcome.figures.append(
            Figure(
                f"cost of a delivery, w10, {name}", "ours", "us of server CPU", costs[name],
                goal="flat within a quarter", met=cost <= 1.25 * least,
            )
        )  # fmt: skip
        if not idle:
            outcome.points.append(("w10", members, cost))
    return outcome


async def steady(servers: dict[str, Make], seconds: float, rounds: int) -> Outcome:
    """Latency of a steady stream to 1,000 members."""
    outcome = Outcome()
    for name, make in servers.items():
        async with opened(make, 1_000) as (server, load, _):
            found = [await at_rate(server, load, 20, seconds) for _ in range(rounds)]
            for rate in (5, 10, 20, 40) if name in ("ours", "ours on plain daphne", "Node ws") else ():
                point = await at_rate(server, load, rate, seconds / 2)
                outcome.points.append((name, rate * 1_000, point.p99))
        p50, p999 = statistics.median(one.p50 for one in found), statistics.median(one.p999 for one in found)
        figure = Figure("20 messages/s to 1,000 members, p99", name, "ms", [one.p99 for one in found])
        figure.note = f"p50 {p50:.1f} ms, p99.9 {p999:.1f} ms, {sum(one.lost for one in found):,} lost"
        if name == "ours":
            figure.goal, figure.met = "15 ms or less", figure.median <= 15
        outcome.figures.append(figure)
    return outcome


async def small_groups(seconds: float, rounds: int) -> Outcome:
    """1,000 feeds of 10 members through one gateway."""
    figure = Figure("1,000 feeds of 10 members", "ours", "messages/s", goal="10,000/s")
    costs = []
    async with opened(lambda bench: Ours(bench, feeds=1_000), 10_000, step=10) as (server, load, _):
        for _ in range(rounds):
            found = await across_feeds(server, load, 1_000, 1_000, seconds)
            figure.values.append(found.rate / 10)
            costs.append(found.cpu_us * 10)
    figure.met = figure.median >= 10_000
    share = figure.median * statistics.median(costs) / 1e6
    figure.note = f"{statistics.median(costs):.0f} us of server CPU a message: the gateway's core was {share:.0%} busy"
    return Outcome([figure])


async def idle_memory() -> Outcome:
    """What an authenticated connection in 10 feeds, its user's among them, holds."""
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
    """Connections from nothing to welcomed; and 5,000 that come back at once and resume."""
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


AUTH = '{"type":"auth","message_id":"a","data":{"token":"%s"}}'
SEND = '{"type":"send_message","message_id":"m-%n","data":{"group_id":"g0","msg_type":1,"content":"bench t=%t"}}'


async def sending(seconds: float, rounds: int) -> Outcome:
    """From a client's send to its ack, the chat service only counting; then with the gateway as the publisher, which
    notes an intent before and adds the entry behind."""
    outcome = Outcome([])
    for name, publishes in (("ours", False), ("ours as the publisher", True)):
        rates = Figure("send to ack, 100 clients as fast as answered", name, "sends/s")
        async with opened(partial(Ours, publishes=publishes), 100, send=SEND) as (_, load, _):
            for _ in range(rounds):
                rates.values.append(await as_fast_as_answered(load, 10_000))
            reports = [await sent_at(load, 500, seconds) for _ in range(rounds)]
        p99 = Figure("send to ack at 500/s, p99", name, "ms", [one.ack["p99"] for one in reports])
        acked, failed = sum(one.acked for one in reports), sum(one.failed for one in reports)
        p50 = statistics.median(one.ack["p50"] for one in reports)
        p99.note = f"p50 {p50:.1f} ms, {acked:,} acked, {failed} failed"
        if not publishes:
            rates.goal, rates.met = "2,500/s", rates.median >= 2_500
            p99.goal, p99.met = "10 or less", p99.median <= 10
        outcome.figures += [rates, p99]
    return outcome


async def chain(seconds: float, rounds: int) -> Outcome:
    """From a client's send to the others' receipt: gateway, reference chat service on SQLite, relay, gateway.

    All of them share all cores.
    """
    with Bench() as bench:
        rpc, port = free_port(), free_port()
        env = {**production(bench, f"127.0.0.1:{rpc}", "INFO"), "CHATWS_RPC_PORT": str(rpc)}
        python = [sys.executable, "manage.py"]
        bench.start("migrate", [*python, "migrate", "--verbosity", "0"], env=env).wait()
        bench.start("rpc", [*python, "serve_chat_rpc"], env=env, anywhere=True)
        relay_stream = bench.start("relay", [*python, "relay_stream"], env=env, anywhere=True)
        command = [sys.executable, *Ours.commands["ours"], str(port), "config.asgi:application"]
        gateway = bench.start("gateway", command, env=env, anywhere=True)
        gateway.wait_for(f"http://127.0.0.1:{port}/ready")
        while relay_stream.log.read_text().count("relaying from") < len(ROUTES):
            await asyncio.sleep(0.1)
        chat = Chat(f"127.0.0.1:{rpc}")
        group = await chat.group(*range(1, 11))
        load = Load(port, "/ws", 10, ready="auth_success", send=SEND.replace("g0", group))
        users = range(1, 11)
        await load.open([AUTH % make_token(user, 7_200) for user in users])
        own = [await as_fast_as_answered(load, 1_000) for _ in range(rounds)]
        await asyncio.sleep(3)
        reports = [await sent_at(load, 200, seconds) for _ in range(rounds)]
        await load.close()
        await chat.close()
    figure = Figure(
        "send to receipt through the whole chain, 200/s to 10 members, p99", "ours", "ms",
        [one.delivery["p99"] for one in reports], "20 or less",
    )  # fmt: skip
    received, expected = sum(one.received for one in reports), 10 * rounds * int(200 * seconds)
    p50 = statistics.median(one.delivery["p50"] for one in reports)
    ack, failed = statistics.median(one.ack["p99"] for one in reports), sum(one.failed for one in reports)
    figure.note = f"p50 {p50:.1f} ms, {received:,} of {expected:,} receipts, ack p99 {ack:.1f} ms, {failed} failed"
    figure.met = figure.median <= 20 and received == expected
    return Outcome([Figure("send to ack, the reference chat service's own figure", "ours", "sends/s", own), figure])


async def sent_at(load: Load, rate: int, seconds: float) -> Report:
    """What came of so many sends a second."""
    load.reset()
    load.send(rate, int(rate * seconds))
    await asyncio.sleep(seconds + 2)
    return await load.report()


async def as_fast_as_answered(load: Load, count: int) -> float:
    """How many sends a second are acked when each client sends the next as soon as it has the last one's ack."""
    load.reset()
    began = time.perf_counter()
    load.send(0, count)
    while (report := await load.report()).acked + report.failed < count:
        await asyncio.sleep(0.05)
    return report.acked / (time.perf_counter() - began)


async def slow_readers(seconds: float) -> Outcome:
    """10 that never read among 1,000, under full load."""
    async with opened(Ours, 1_000, stalled=10, step=990) as (server, load, _):
        sizes = [server.process.cost().rss]
        results = []
        for _ in itertools.repeat(None, 5):
            results.append(await saturate(server, load, 10, seconds / 5))
            sizes.append(server.process.cost().rss)
    lost = sum(one.lost for one in results)
    growth = (sizes[-1] - sizes[1]) / 1e6
    figure = Figure(
        "10 of 1,000 never read, w10", "ours", "deliveries/s", [one.rate for one in results],
        goal="RSS flat, nobody else loses", met=lost == 0 and growth < 10,
        note=f"RSS {', '.join(f'{size / 1e6:.0f}' for size in sizes)} MB; {lost} lost, slowest p99 "
        f"{max(one.p99 for one in results):.0f} ms",
    )  # fmt: skip
    return Outcome([figure])


async def relaying(events: int, rounds: int) -> Outcome:
    """From a topic with a backlog to published."""
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

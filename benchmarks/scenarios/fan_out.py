"""Measure the fan-out of messages to many members: rate, cost and latency of a delivery."""

import itertools
import statistics
from functools import partial

from benchmarks.fanout import Result, across_feeds, at_rate, saturate
from benchmarks.figures import Figure, Outcome
from benchmarks.servers import LONG_AGO, Ours
from benchmarks.setup import TUTORIAL, Make, opened


async def fan_out(servers: dict[str, Make], seconds: float, rounds: int, members: int = 1_000) -> Outcome:
    """Measure deliveries per second with one message in flight (w1) and ten (w10)."""
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
    """Measure the cost of a delivery with more members and idle feeds: at most a quarter above the cheapest."""
    cases = [(f"{members:,} members", members, 0) for members in (100, 1_000, 10_000)]
    cases += [(f"1,000 members, {idle:,} idle feeds", 1_000, idle) for idle in (1_000, 10_000)]
    costs: dict[str, list[float]] = {}
    for name, members, idle in cases * rounds:
        # The idle feeds belong to one more user, who is not subscribed to the loaded one.
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
    """Measure the latency of a steady stream to 1,000 members."""
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
    """Measure the messages per second to 1,000 feeds of 10 members through one gateway."""
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


async def slow_readers(seconds: float) -> Outcome:
    """Measure full load on 1,000 connections of which 10 never read."""
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

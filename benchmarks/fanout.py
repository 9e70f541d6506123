"""Publish to many members as fast as they receive, or at a steady rate, and measure the deliveries."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.load import Load, Report
from benchmarks.servers import Ours, Server

STUCK_SECONDS = 2.0
"""Seconds without progress after which missing deliveries count as lost."""


@dataclass(frozen=True)
class Result:
    """One measurement: ``sent`` deliveries were due, ``received`` arrived; ``cpu_us`` is the server's CPU for each."""

    server: str
    members: int
    seconds: float
    sent: int
    received: int
    unordered: int
    cpu_us: float
    p50: float
    p99: float
    p999: float
    rss: int
    load_busy: float
    """Share of a core that the load generator used: near 1 the generator is the limit."""
    closed: int = 0

    @property
    def rate(self) -> float:
        """Return the deliveries per second."""
        return self.received / self.seconds

    @property
    def lost(self) -> int:
        return self.sent - self.received


def result(server: Server, load: Load, report: Report, *, sent: int, seconds: float, cpu: float, busy: float) -> Result:
    """Combine a report and the server's cost."""
    return Result(
        server=server.name, members=load.listening, seconds=seconds, sent=sent, received=report.received,
        unordered=report.unordered, cpu_us=cpu / max(report.received, 1) * 1e6,
        p50=report.delivery["p50"], p99=report.delivery["p99"], p999=report.delivery["p999"],
        rss=server.process.cost().rss, load_busy=busy / seconds, closed=report.closed,
    )  # fmt: skip


async def saturate(server: Server, load: Load, window: int, seconds: float, each: int = 1, feed: str = "") -> Result:
    """Keep ``window`` messages in flight; a message is ``each`` steps of the load."""
    options = {"feed": feed} if feed else {}
    load.reset()
    await server.publish(window, **options)  # warm
    await _settle(load, window * load.listening)
    load.reset()
    before, used = server.process.cost().cpu, (await load.report()).cpu
    load.done, published = 0, window
    began = time.perf_counter()
    await server.publish(window, **options)
    while time.perf_counter() - began < seconds:
        if load.done // each + window <= published and not await load.wait_for_progress(STUCK_SECONDS):
            published -= window  # some were lost: continue with new ones
            load.done = published * each
        due = load.done // each + window - published
        if due > 0:
            published += due
            await server.publish(due, **options)
    report, ended = await _settle(load, published * load.listening)
    cost = server.process.cost().cpu - before
    sent = published * load.listening
    return result(server, load, report, sent=sent, seconds=ended - began, cpu=cost, busy=report.cpu - used)


async def at_rate(server: Server, load: Load, rate: float, seconds: float) -> Result:
    """Publish ``rate`` messages per second at equal intervals."""
    load.reset()
    await server.publish(1)
    await _settle(load, load.listening)
    load.reset()
    before, used = server.process.cost().cpu, (await load.report()).cpu
    began = time.perf_counter()
    count = int(rate * seconds)
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        await server.publish(1)
    report, _ = await _settle(load, count * load.listening)
    cost = server.process.cost().cpu - before
    return result(
        server, load, report, sent=count * load.listening, seconds=seconds, cpu=cost, busy=report.cpu - used
    )  # fmt: skip


async def _settle(load: Load, expected: int) -> tuple[Report, float]:
    """Wait until all deliveries, or no more, arrive; return the report and the time of the last."""
    report, since = await load.report(), time.perf_counter()
    while report.received < expected and time.perf_counter() - since < STUCK_SECONDS:
        await asyncio.sleep(0.01)
        later = await load.report()
        if later.received > report.received:
            since = time.perf_counter()
        report = later
    return report, since


async def across_feeds(server: Ours, load: Load, feeds: int, window: int, seconds: float) -> Result:
    """Publish to ``feeds`` feeds in turn, ``window`` messages in flight; a step of ``load`` is one feed's members."""
    members = load.listening // feeds
    load.reset()
    before, used = server.process.cost().cpu, (await load.report()).cpu
    load.done, published = 0, 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        due = load.done + window - published
        if due >= min(100, window):
            await server.publish_to([f"group:g{number % feeds}" for number in range(published, published + due)])
            published += due
        elif not await load.wait_for_progress(STUCK_SECONDS):
            published = load.done
    report, ended = await _settle(load, published * members)
    cost = server.process.cost().cpu - before
    return result(
        server, load, report, sent=published * members, seconds=ended - began, cpu=cost, busy=report.cpu - used
    )  # fmt: skip

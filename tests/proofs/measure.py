"""Run one proof in this process: python -m tests.proofs.measure NAME --figures FILE. `tests.proofs` starts it.

Each proof uses the test suite's code with larger numbers, and judges figures that depend on the machine's speed.
"""

import argparse
import asyncio
import math
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

import pytest  # noqa: E402
from playwright.async_api import expect  # noqa: E402

from benchmarks import machine  # noqa: E402
from benchmarks.scenarios import fan_out  # noqa: E402
from tests.abuse import beside, fuzz, hostile, idle  # noqa: E402
from tests.e2e import long_group, tutorial  # noqa: E402
from tests.faults import redis_errors, rolling, run, soak  # noqa: E402
from tests.faults.kinds import TAKEOVER_SECONDS  # noqa: E402
from tests.faults.plan import Plan  # noqa: E402
from tests.faults.report import table  # noqa: E402
from tests.proofs import latency  # noqa: E402
from tests.proofs.figures import Figure, all_of, at_most, none_of, write  # noqa: E402
from tests.support.browser import chromium  # noqa: E402
from tests.support.stack import Stack  # noqa: E402

EXPECT_MS = 60_000
"""Milliseconds that a browser waits for an expected element; it only catches a hang."""


@dataclass(frozen=True)
class Size:
    """The size of a proof: its share of the whole, and the seed of random choices."""

    scale: float
    seed: int
    folder: Path

    def of(self, whole: int) -> int:
        """Return this share of the whole, at least one."""
        return max(1, round(whole * self.scale))


async def rolling_restart(size: Size) -> list[Figure]:
    plan = rolling.Plan(clients=size.of(3_000), leaving=50)
    outcome = await rolling.Rolling(plan, size.folder)()
    say(rolling.table(plan, outcome))
    ledger = outcome.ledger
    return [
        none_of(f"messages lost, repeated or swapped, of {len(ledger.sent):,}", ledger.problems),
        all_of("clients that reconnected", outcome.returned, plan.clients),
        Figure("exit statuses of the gateways", ", ".join(map(str, outcome.statuses)), "0", not any(outcome.statuses)),
        none_of(f"late, of {ledger.count['in time']:,} deliveries", [*map(str, ledger.late)]),
        at_most("most clients disconnected at a time", 100 * outcome.disconnected / plan.clients, rolling.SHARE, "%"),
    ]


async def a_soak(size: Size) -> list[Figure]:
    soaked = soak.Soak(size.folder)
    before, after = await soaked.run(minutes=2 * size.scale)
    say(soak.table(soaked, before, after))
    growth = max(after.memory[name] - held for name, held in before.memory.items()) / 1e6
    return [
        none_of(
            f"unknown, too many or endless keys, and feeds left behind by {soaked.connections:,} connections",
            soak.left_behind(soaked, before, after),
        ),
        at_most("most memory that a process grew by", growth, soak.GROWTH_MB, "MB"),
        Figure("messages acked", f"{soaked.acked:,}", "1 or more", soaked.acked > 0),
    ]


async def fault_run(size: Size) -> list[Figure]:
    return await _broken(Plan(minutes=2 * size.scale, seed=size.seed))


async def beside_the_platform(size: Size) -> list[Figure]:
    return await _broken(Plan(minutes=2 * size.scale, seed=size.seed, rate=80, platform=True))


async def _broken(plan: Plan) -> list[Figure]:
    outcome = await run.run(plan)
    say(table(plan, outcome) + "\n")
    slowest = max(outcome.takeovers, default=math.inf)  # without a figure nothing is proved
    faults = outcome.injected.total()
    return [
        none_of(f"broken promises, {faults} faults, {len(outcome.ledger.sent):,} messages", outcome.ledger.problems),
        at_most(f"slowest takeover by a standby relay, of {len(outcome.takeovers)}", slowest, TAKEOVER_SECONDS),
        none_of(
            f"late, of {outcome.ledger.count['in time']:,} deliveries and notices", [*map(str, outcome.ledger.late)]
        ),
        Figure("messages acked", f"{len(outcome.ledger.sent):,}", "1 or more", bool(outcome.ledger.sent)),
    ]


def nonsense(size: Size) -> list[Figure]:
    began = time.monotonic()
    count = size.of(400_000)
    seen, memory = fuzz.run(count, size.seed, size.folder)
    say(fuzz.table(seen, memory, time.monotonic() - began))
    growth = (max(memory) - memory[0]) / 1e6
    return [
        Figure("random frames without a 500 or a traceback", f"{seen.sent:,}", f"{count:,}", seen.sent >= count),
        at_most("memory that the gateway grew by", growth, fuzz.GROWTH / 1e6, "MB"),
        at_most("slowest answer to a well-behaved client", seen.slowest, beside.SLOWEST_SECONDS),
    ]


async def ten_thousand_messages(size: Size) -> list[Figure]:
    count = size.of(10_000)
    async with chromium() as browser:
        found = await long_group.scroll(browser, size.folder, count, seconds=900)
    return [
        Figure(f"rows drawn at once, of {count:,} messages", f"{found.rows}", "199 or less", found.rows < 200),
        at_most(f"from the newest to the first of {count:,} messages", found.back_seconds, 90),
    ]


async def ten_thousand_sockets(size: Size) -> list[Figure]:
    count, most_mb = size.of(10_000), 300
    stack = Stack(size.folder, CHATWS_ACCEPTS_PER_SECOND="0", CHATWS_ACCEPTS_PER_ADDRESS="0")
    try:
        await asyncio.to_thread(stack.start)
        found = await idle.attack(stack, count, auth_timeout=45, megabytes=100 * most_mb)
    finally:
        await asyncio.to_thread(stack.stop)
    return [
        all_of("silent sockets open at a time, and one active client", found.most, count + 1),
        all_of("silent sockets notified and closed", found.told, count),
        at_most("slowest answer to a well-behaved client", found.beside.slowest, beside.SLOWEST_SECONDS),
        at_most("memory that the gateway grew by", found.beside.growth / 1e6, most_mb, "MB"),
    ]


def attacks(size: Size) -> list[Figure]:
    """Run the attacks of the test suite and judge their figures."""
    imported = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # by this module
    status = pytest.main(["-q", "-p", "no:cacheprovider", "-W", imported, "--timeout", "600", "tests/abuse/attacks"])
    seen = beside.SEEN
    answer, request = max(seen.answers, default=math.inf), max(seen.requests, default=math.inf)
    return [
        Figure("exit status of the attacks in the test suite", f"{int(status)}", "0", not status),
        at_most(f"slowest answer beside {len(seen.answers)} attacks", answer, beside.SLOWEST_SECONDS),
        at_most("slowest close of an incomplete request", request, beside.REQUEST_SECONDS),
    ]


async def errors_of_redis(size: Size) -> list[Figure]:
    return await redis_errors.measured(size.folder, 4 * size.scale, size.seed)


async def hostile_clients(size: Size) -> list[Figure]:
    """Run some minutes of what `python -m tests.abuse.hostile` does for ten."""
    plan = hostile.Plan(count=size.of(3_200), seconds=80 * size.scale, quiet_seconds=20 * size.scale, seed=size.seed)
    outcome = await hostile.Hostile(plan, size.folder)()
    say(hostile.table(plan, outcome))
    return [
        none_of(
            f"honest clients refused or disconnected beside {outcome.made.total():,} hostile ones", outcome.refused
        ),
        all_of("deliveries to honest clients", outcome.delivered, outcome.sent * hostile.MEMBERS),
        all_of("acks to honest clients", outcome.sent - outcome.unacked, outcome.sent),
        at_most("whole hostile requests without an answer", outcome.unanswered, 0),
        at_most("p99 of a delivery, beside as a multiple of quiet", outcome.slower, hostile.MOST_SLOWER, "times"),
        at_most("slowest /health", max(outcome.health, default=math.inf), hostile.HEALTH_SECONDS),
        at_most("memory that the gateway grew by", outcome.growth / 1e6, hostile.MOST_GROWTH_MB, "MB"),
    ]


async def slow_readers(size: Size) -> list[Figure]:
    machine.prepare()
    outcome = await fan_out.slow_readers(60 * size.scale)
    return [
        Figure(f"{one.what}: {one.median:,.0f} {one.unit}", one.note, one.goal, bool(one.met))
        for one in outcome.figures
    ]


async def latencies(size: Size) -> list[Figure]:
    return await latency.measure(size.folder)


async def the_tutorial(size: Size) -> list[Figure]:
    newcomer = tutorial.Newcomer(size.folder)
    try:
        async with chromium() as browser:
            found = await tutorial.follow(newcomer, browser)
    finally:
        await newcomer.leave()
    return [
        at_most("start of `make run` until it is ready", found.ready_seconds, 60),
        at_most("end of `make run` after Ctrl-C", found.stop_seconds, 60),
        at_most("reconnection of both pages after a restart", found.back_seconds, 40),
    ]


MEASURES: dict[str, Callable[[Size], list[Figure] | Awaitable[list[Figure]]]] = {
    "rolling": rolling_restart, "soak": a_soak, "messages": ten_thousand_messages, "sockets": ten_thousand_sockets,
    "faults": fault_run, "platform": beside_the_platform, "fuzz": nonsense, "attacks": attacks,
    "hostile": hostile_clients, "redis-errors": errors_of_redis, "slow-readers": slow_readers,
    "latency": latencies, "tutorial": the_tutorial,
}  # fmt: skip


async def awaited(figures: Awaitable[list[Figure]]) -> list[Figure]:
    """Return the figures of a proof that is a coroutine."""
    return await figures


def say(text: str) -> None:
    """Write a line to the proof's log."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.measure", description=__doc__)
    parser.add_argument("name", choices=MEASURES)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figures", type=Path, required=True, help="the file for the figures, in JSON")
    given = parser.parse_args(arguments)
    expect.set_options(timeout=EXPECT_MS)
    with tempfile.TemporaryDirectory(prefix="chatws-proof-", ignore_cleanup_errors=True) as folder:
        found = MEASURES[given.name](Size(given.scale, given.seed, Path(folder)))
        write(found if isinstance(found, list) else asyncio.run(awaited(found)), given.figures)


if __name__ == "__main__":
    main()

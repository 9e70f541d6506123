"""Inject faults: each function breaks a part at a random moment and repairs it again.

It holds the locks of that part, so that faults of different parts overlap and faults of one part do not.
"""

import asyncio
import random
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

import redis.asyncio as aioredis

from tests.faults.ledger import Ledger, Loss
from tests.faults.system import System, TwinSystem
from tests.support.proxy import Proxy
from tests.support.redis import free_port
from tests.support.twin.control import Twin

WAIT_SECONDS = 120.0
"""Seconds to wait for a fault's effect; the ledger finds what is missing."""
PARTS = ("redis", "relay", "gateway", "rpc", "etcd", "network")


@dataclass
class Stage:
    """The parts that a fault may break."""

    system: System
    ledger: Ledger
    networks: Sequence[Proxy]
    groups: Sequence[str]
    rng: random.Random
    pause_seconds: float
    steady: frozenset[str] = frozenset()
    """The names of the readers that are in all groups during the whole run."""
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while writers must not write."""
    locks: dict[str, asyncio.Lock] = field(default_factory=lambda: {part: asyncio.Lock() for part in PARTS})

    @asynccontextmanager
    async def holding(self, parts: Sequence[str]) -> AsyncIterator[None]:
        """Hold the locks of parts, always in the same order."""
        taken = [self.locks[part] for part in PARTS if part in parts]
        for lock in taken:
            await lock.acquire()
        try:
            yield
        finally:
            for lock in taken:
                lock.release()

    async def moment(self, least: float = 0.0, most: float = 1.0) -> None:
        """Sleep for a random time."""
        await asyncio.sleep(self.rng.uniform(least, most))


Break = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """A kind of fault, the parts it breaks, and its number of occurrences in each round."""

    name: str
    parts: tuple[str, ...]
    times: int
    work: Break


async def gateway_killed(stage: Stage) -> None:
    system, number = stage.system, stage.rng.randrange(2)
    system.gateways[number].kill()
    await stage.moment(0, 0.5)
    await system.restart(system.gateways, number)


async def active_relay_killed(stage: Stage) -> None:
    system = stage.system
    number = await system.active_relay()
    before = await system.holder()
    began = time.monotonic()
    system.relays[number].kill()
    await taken_over(system, before)
    system.takeovers.append(time.monotonic() - began)
    await system.restart(system.relays, number)
    await system.until(lambda: bool(system.name_of(system.relays[number])), "the relay did not start")


async def taken_over(system: System, before: str) -> None:
    """Return once a relay other than this one holds the messages' topic."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            while await system.holder() in ("", before):
                await asyncio.sleep(0.02)


async def standby_relay_killed(stage: Stage) -> None:
    system = stage.system
    number = 1 - await system.active_relay()
    system.relays[number].kill()
    await stage.moment()
    await system.restart(system.relays, number)


async def two_active_relays(stage: Stage) -> None:
    """Pause a relay in its work until another has taken over; then it continues and considers itself active."""
    system = stage.system
    relay = system.relays[await system.active_relay()]
    before = await system.holder()
    await stage.moment(0, 0.3)
    relay.pause()
    await taken_over(system, before)
    await stage.moment(0, 1)
    relay.go_on()
    await stage.moment()


async def chat_service_killed(stage: Stage) -> None:
    system, number = stage.system, stage.rng.randrange(2)
    system.rpcs[number].kill()
    await stage.moment(0, 1)
    await system.restart(system.rpcs, number)


async def redis_killed(stage: Stage) -> None:
    stage.system.redis.kill()
    await stage.moment(0, 2)
    await asyncio.to_thread(stage.system.redis.start)
    await stage.moment(1, 2)


async def redis_restarted(stage: Stage) -> None:
    await asyncio.to_thread(stage.system.redis.stop)
    await stage.moment(0, 2)
    await asyncio.to_thread(stage.system.redis.start)
    await stage.moment(1, 2)


async def redis_paused(stage: Stage) -> None:
    process = stage.system.redis.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(stage.pause_seconds)
    process.send_signal(signal.SIGCONT)
    await stage.moment(2, 4)


async def subscriptions_killed(stage: Stage) -> None:
    async with aioredis.Redis.from_url(stage.system.redis.url) as client:
        for _ in range(stage.rng.randint(1, 4)):
            await client.client_kill_filter(_type="pubsub")
            await stage.moment(0, 0.3)


async def subscriptions_killed_without_traffic(stage: Stage) -> None:
    stage.quiet.set()
    await asyncio.sleep(0.3)
    await subscriptions_killed(stage)
    stage.quiet.clear()


async def log_trimmed(stage: Stage) -> None:
    """Disconnect some readers while a few logs lose all but their latest publications."""
    disconnected = stage.rng.sample(list(stage.networks), k=max(1, len(stage.networks) // 2))
    for proxy in disconnected:
        proxy.drop_silently()
    await stage.moment(2, 4)
    async with aioredis.Redis.from_url(stage.system.redis.url) as client:
        for group_id in stage.rng.sample(list(stage.groups), k=min(5, len(stage.groups))):
            stage.ledger.losses.append(Loss(time.monotonic(), f"group:{group_id}"))
            await client.ltrim(f"chatws:{{group:{group_id}}}:log", -1, -1)
    for proxy in disconnected:
        proxy.restore()
    await stage.moment(1, 2)


async def flushall(stage: Stage) -> None:
    """Delete everything; each gateway's position check, every 10 s, detects it, and every reader is notified."""
    feeds = {f"group:{group_id}" for group_id in stage.groups}
    before = {
        (reader, feed): place[0]
        for reader in stage.ledger.readers if reader.name in stage.steady
        for feed, place in reader.places.items() if feed in feeds
    }  # fmt: skip
    stage.ledger.losses.append(Loss(time.monotonic()))
    async with aioredis.Redis.from_url(stage.system.redis.url) as client:
        await client.flushall()
    with suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            while any(reader.places[feed][0] == epoch for (reader, feed), epoch in before.items()):
                await asyncio.sleep(0.1)


async def network_reset(stage: Stage) -> None:
    stage.rng.choice(list(stage.networks)).reset()
    await stage.moment()


async def network_stalled(stage: Stage) -> None:
    proxy = stage.rng.choice(list(stage.networks))
    proxy.stall()
    await stage.moment(0.5, 6)
    proxy.restore()


async def network_dropped(stage: Stage) -> None:
    proxy = stage.rng.choice(list(stage.networks))
    proxy.drop_silently()
    await stage.moment(1, 5)
    proxy.restore()


async def clock_set_back(stage: Stage) -> None:
    process = stage.rng.choice(stage.system.gateways + stage.system.relays + stage.system.rpcs)
    stage.system.set_clock_back(process, stage.rng.choice((2, 60, 3_600)))
    await stage.moment(2, 5)
    stage.system.set_clock_back(process, 0)


@asynccontextmanager
async def told(stage: Stage, number: int, **what: str) -> AsyncIterator[None]:
    """Inject a failure into one of the platform's twins, until it is cleared or the twin is killed."""
    twin = Twin(f"127.0.0.1:{stage.system.rpc_ports[number]}")
    await twin.tell(**what)
    try:
        yield
    finally:
        if stage.system.rpcs[number].running:
            await twin.tell(**dict.fromkeys(what, ""))
        await twin.close()


def saves(what: str) -> Break:
    """Make a twin fail when it stores messages, for some seconds."""

    async def work(stage: Stage) -> None:
        async with told(stage, stage.rng.randrange(2), saves=what):
            await stage.moment(1, 3)

    return work


async def dies_behind_a_commit(stage: Stage) -> None:
    system, number = stage.system, stage.rng.randrange(2)
    async with told(stage, number, saves="drop"):
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                while system.rpcs[number].running:
                    await asyncio.sleep(0.02)
        system.rpcs[number].kill()
    await system.restart(system.rpcs, number)


async def moves(stage: Stage) -> None:
    """Move a service to another port, after a crash or a regular stop."""
    system, number = twins_of(stage), stage.rng.randrange(2)
    if stage.rng.random() < 0.5:
        system.rpcs[number].kill()
    else:
        await asyncio.to_thread(system.rpcs[number].stop)
    system.rpc_ports[number], system.user_ports[number] = free_port(), free_port()
    await stage.moment(0, 1)
    await system.restart(system.rpcs, number)


async def database_locked(stage: Stage) -> None:
    """Lock the database for some seconds."""
    path = twins_of(stage).database
    with closing(sqlite3.connect(path, WAIT_SECONDS, isolation_level=None, check_same_thread=False)) as database:
        await asyncio.to_thread(database.execute, "BEGIN IMMEDIATE")
        await stage.moment(1, 6)
        database.execute("ROLLBACK")


async def overloaded(stage: Stage) -> None:
    async with told(stage, stage.rng.randrange(2), calls="overloaded"):
        await stage.moment(1, 3)


async def user_service_fails(stage: Stage) -> None:
    async with told(stage, stage.rng.randrange(2), users=stage.rng.choice(("slow", "away"))):
        await stage.moment(1, 3)


async def etcd_killed(stage: Stage) -> None:
    """Stop etcd for longer or shorter than a lease; an expired service registers again, as go-zero does."""
    system = twins_of(stage)
    system.etcd.members[0].kill()
    await stage.moment(0, 12)
    await asyncio.to_thread(system.etcd.start)
    for number in (0, 1):
        await asyncio.to_thread(system.register, number)


async def etcd_hangs(stage: Stage) -> None:
    member = twins_of(stage).etcd.members[0]
    member.pause()
    await stage.moment(1, 5)
    member.go_on()


def twins_of(stage: Stage) -> TwinSystem:
    """Return the system, which must be a TwinSystem."""
    assert isinstance(stage.system, TwinSystem)
    return stage.system


FAULTS = (
    Fault("gateway killed (-9)", ("gateway",), 4, gateway_killed),
    Fault("active relay killed (-9)", ("relay",), 4, active_relay_killed),
    Fault("standby relay killed (-9)", ("relay",), 2, standby_relay_killed),
    Fault("two relays believe they are active", ("relay",), 2, two_active_relays),
    Fault("chat service killed (-9)", ("rpc", "etcd"), 4, chat_service_killed),
    Fault("Redis killed (-9)", ("redis", "relay"), 2, redis_killed),
    Fault("Redis restarted", ("redis", "relay"), 2, redis_restarted),
    Fault("Redis paused", ("redis", "relay"), 1, redis_paused),
    Fault("subscriptions killed", ("redis",), 4, subscriptions_killed),
    Fault("subscriptions killed, no traffic", ("redis",), 2, subscriptions_killed_without_traffic),
    Fault("log trimmed under readers", ("network", "redis"), 2, log_trimmed),
    Fault("FLUSHALL", PARTS, 1, flushall),
    Fault("reader's network reset", ("network",), 4, network_reset),
    Fault("reader's network stalled", ("network",), 2, network_stalled),
    Fault("reader's network dropped silently", ("network",), 3, network_dropped),
    Fault("clock of one process set back", ("rpc", "gateway"), 2, clock_set_back),
)
PLATFORM_FAULTS = (
    Fault("twin commits and fails", ("rpc",), 3, saves("fail")),
    Fault("twin commits and hangs", ("rpc",), 2, saves("hang")),
    Fault("twin hangs and doesn't commit", ("rpc",), 2, saves("hang before")),
    Fault("twin's database is read-only", ("rpc",), 2, saves("refuse")),
    Fault("twin's database is locked", ("rpc",), 2, database_locked),
    Fault("twin is overloaded", ("rpc",), 2, overloaded),
    Fault("twin commits and dies", ("rpc", "etcd"), 3, dies_behind_a_commit),
    Fault("twin moves to another port", ("rpc", "etcd"), 3, moves),
    Fault("user service slow or unavailable", ("rpc",), 1, user_service_fails),
    Fault("etcd killed (-9)", ("etcd",), 2, etcd_killed),
    Fault("etcd hangs", ("etcd",), 1, etcd_hangs),
)
"""Additional faults of a run beside the platform."""

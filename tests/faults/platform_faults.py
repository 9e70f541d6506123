"""Additional faults of a run beside the platform's twins: the services fail, move, hang or lose their database."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing

from tests.faults import kinds
from tests.faults.stage import WAIT_SECONDS, Break, Fault, Stage
from tests.faults.system import TwinSystem
from tests.support.redis import free_port
from tests.support.twin.control import Twin


@asynccontextmanager
async def told(stage: Stage, number: int, **what: str) -> AsyncIterator[None]:
    """Inject a failure into one of the platform's twins, until it is cleared or the twin is killed."""
    twin = Twin(f"127.0.0.1:{stage.system.rpc_ports[number]}")
    with stage.fault(kinds.SERVICE_FAILED):
        await twin.tell(**what)
        try:
            yield
        finally:
            await _untell(stage, number, twin, what)


async def _untell(stage: Stage, number: int, twin: Twin, what: Mapping[str, str]) -> None:
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
        await stage.until(lambda: not system.rpcs[number].running, "the twin did not die behind a commit")
        system.rpcs[number].kill()
    await system.restart(system.rpcs, number)


async def moves(stage: Stage) -> None:
    """Move a service to another port, after a crash or a regular stop."""
    system, number = twins_of(stage), stage.rng.randrange(2)
    with stage.fault(kinds.SERVICE_FAILED):
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
        with stage.fault(kinds.SERVICE_FAILED):
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
    with stage.fault(kinds.SERVICE_FAILED):
        system.etcd.members[0].kill()
        await stage.moment(0, 12)
        await asyncio.to_thread(system.etcd.start)
        for number in (0, 1):
            await asyncio.to_thread(system.register, number)


async def etcd_hangs(stage: Stage) -> None:
    member = twins_of(stage).etcd.members[0]
    with stage.fault(kinds.SERVICE_FAILED):
        member.pause()
        await stage.moment(1, 5)
        member.go_on()


def twins_of(stage: Stage) -> TwinSystem:
    """Return the system, which must be a TwinSystem."""
    assert isinstance(stage.system, TwinSystem)
    return stage.system


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

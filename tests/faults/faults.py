"""Inject faults: each function breaks a part at a random moment and repairs it again.

It holds the locks of that part, so that faults of different parts overlap and faults of one part do not. It records in
the ledger when which kind of fault acted; nothing is excused but by these records.
"""

import asyncio
import signal
import time
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from realtime.feeds.names import channels_group
from realtime.redis import keys
from tests.faults import kinds
from tests.faults.stage import LOOK_SECONDS, PARTS, WAIT_SECONDS, Break, Fault, Stage


async def gateway_killed(stage: Stage) -> None:
    system, number = stage.system, stage.rng.randrange(2)
    kill_gateway(stage, number)
    await stage.moment(0, 0.5)
    await system.restart(system.gateways, number)


def kill_gateway(stage: Stage, number: int) -> None:
    """Kill a gateway; nothing has to be repaired, its clients go to the other one."""
    stage.system.gateways[number].kill()
    stage.struck(kinds.PROCESS_KILLED)


async def active_relay_killed(stage: Stage) -> None:
    number = await kill_active_relay(stage)
    await start_relay(stage, number)


async def kill_active_relay(stage: Stage) -> int:
    """Kill the active relay, wait until the standby has taken over, and return the killed one's number."""
    system = stage.system
    number = await system.active_relay()
    before = await system.holder()
    began = time.monotonic()
    system.relays[number].kill()
    stage.struck(kinds.RELAY_KILLED)
    await taken_over(stage, before)
    system.takeovers.append(time.monotonic() - began)
    return number


async def start_relay(stage: Stage, number: int) -> None:
    """Start a killed relay again and wait until it serves."""
    system = stage.system
    await system.restart(system.relays, number)
    await system.until(lambda: bool(system.name_of(system.relays[number])), "the relay did not start")


async def taken_over(stage: Stage, before: str) -> None:
    """Return once a relay other than this one holds the messages' topic."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while await stage.system.holder() in ("", before):
                await asyncio.sleep(0.02)
    except TimeoutError:
        stage.ledger.problem(f"no relay took over from {before}")


async def standby_relay_killed(stage: Stage) -> None:
    system = stage.system
    number = 1 - await system.active_relay()
    system.relays[number].kill()
    stage.struck(kinds.PROCESS_KILLED)
    await stage.moment()
    await system.restart(system.relays, number)


async def two_active_relays(stage: Stage) -> None:
    """Pause a relay in its work until another has taken over; then it continues and considers itself active."""
    system = stage.system
    relay = system.relays[await system.active_relay()]
    before = await system.holder()
    await stage.moment(0, 0.3)
    relay.pause()
    stage.struck(kinds.RELAY_KILLED)
    await taken_over(stage, before)
    await stage.moment(0, 1)
    relay.go_on()
    stage.struck(kinds.PROCESS_KILLED)
    await stage.moment()


async def chat_service_killed(stage: Stage) -> None:
    system, number = stage.system, stage.rng.randrange(2)
    system.rpcs[number].kill()
    stage.struck(kinds.SERVICE_KILLED)
    await stage.moment(0, 1)
    await system.restart(system.rpcs, number)


async def redis_killed(stage: Stage) -> None:
    with stage.fault(kinds.REDIS_DOWN):
        stage.system.redis.kill()
        await stage.moment(0, 2)
        await asyncio.to_thread(stage.system.redis.start)
    await stage.moment(1, 2)


async def redis_restarted(stage: Stage) -> None:
    with stage.fault(kinds.REDIS_DOWN):
        await asyncio.to_thread(stage.system.redis.stop)
        await stage.moment(0, 2)
        await asyncio.to_thread(stage.system.redis.start)
    await stage.moment(1, 2)


async def redis_paused(stage: Stage) -> None:
    process = stage.system.redis.process
    assert process is not None
    with stage.fault(kinds.REDIS_DOWN):
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(stage.pause_seconds)
        process.send_signal(signal.SIGCONT)
    await stage.moment(2, 4)


async def subscriptions_killed(stage: Stage) -> None:
    async with aioredis.Redis.from_url(stage.system.redis.url) as client:
        with stage.fault(kinds.SUBSCRIPTIONS_KILLED):
            for number in range(stage.rng.randint(1, 4)):
                if number:
                    await stage.moment(0, 0.3)
                await client.client_kill_filter(_type="pubsub")


async def subscriptions_killed_without_traffic(stage: Stage) -> None:
    await without_traffic(stage, subscriptions_killed)


async def gateway_killed_without_traffic(stage: Stage) -> None:
    number = stage.rng.randrange(2)

    async def work(stage: Stage) -> None:
        kill_gateway(stage, number)

    await without_traffic(stage, work)
    await stage.system.restart(stage.system.gateways, number)


async def active_relay_killed_without_traffic(stage: Stage) -> None:
    killed: list[int] = []

    async def work(stage: Stage) -> None:
        killed.append(await kill_active_relay(stage))

    await without_traffic(stage, work)
    await start_relay(stage, killed[0])


async def redis_killed_without_traffic(stage: Stage) -> None:
    await without_traffic(stage, redis_killed)


async def without_traffic(stage: Stage, work: Break) -> None:
    """Break something while the last messages are on their way; then no new one comes that would help.

    Everything has to heal by itself: each message arrives, each reader has its feeds' ends, and the gateways' feeds are
    subscribed in Redis.
    """
    async with stage.silence():
        said: list[str] = []

        async def say(group_id: str) -> None:
            said.append(await stage.say(group_id, "before the silence"))

        async with asyncio.TaskGroup() as tasks:
            for group_id in stage.rng.sample(list(stage.groups), k=min(5, len(stage.groups))):
                tasks.create_task(say(group_id))
            await stage.moment(0, 0.05)
            await work(stage)
        deadline = time.monotonic() + WAIT_SECONDS
        while unhealed := await not_healed(stage, said):
            if time.monotonic() > deadline:
                stage.ledger.problem(f"did not heal without a new message: {unhealed}")
                return
            await asyncio.sleep(LOOK_SECONDS)


async def not_healed(stage: Stage, said: list[str]) -> str:
    """Return what is not as it should be while nothing is sent; empty once all is."""
    feeds = [f"group:{group_id}" for group_id in stage.groups]
    try:
        async with aioredis.Redis.from_url(stage.system.redis.url) as client:
            pipeline = client.pipeline(transaction=False)
            for feed in feeds:
                pipeline.hmget(keys.feed(feed).meta, "epoch", "offset")
            places = zip(feeds, await pipeline.execute(), strict=True)
            ends = {feed: (end[0].decode(), int(end[1])) for feed, end in places if end[0]}
            names = [f"chatws:layer__group__{channels_group(feed)}" for feed in feeds]
            counts = dict(await client.pubsub_numsub(*names))
            gateways = await gateways_of_readers(stage, client)
    except (RedisError, OSError):
        return "Redis is unavailable"
    unheard = [name for name in names if counts.get(name.encode(), 0) < gateways]
    if unheard or not gateways:
        return f"{len(unheard)} feeds are not subscribed in Redis by all of {gateways} gateways"
    for reader in stage.ledger.readers:
        if reader.name not in stage.steady:
            continue
        behind = [feed for feed, end in ends.items() if reader.places.get(feed) != end]
        if behind:
            return f"{reader.name} is at {reader.places.get(behind[0])} in {behind[0]}, which ends at {ends[behind[0]]}"
        if not reader.is_connected:
            return f"{reader.name} is not connected"
        if missing := set(said).intersection(stage.ledger.missing(reader, stage.groups)):
            return f"{reader.name} did not receive {missing.pop()}"
    return ""


async def gateways_of_readers(stage: Stage, client: Any) -> int:
    """Return how many gateways have connections of steady readers, and so must receive all chat groups."""
    users = {str(reader.user_id).encode() for reader in stage.ledger.readers if reader.name in stage.steady}
    nodes = [node.decode() for node in await client.zrange(keys.nodes(), 0, -1)]
    connected = [set(await client.hvals(keys.node_connections(node))) for node in nodes]
    return sum(not users.isdisjoint(of_node) for of_node in connected)


async def log_trimmed(stage: Stage) -> None:
    """Disconnect some readers while a few logs lose all but their latest publications."""
    disconnected = stage.rng.sample(list(stage.networks), k=max(1, len(stage.networks) // 2))
    with stage.fault(kinds.NETWORK_DROPPED, readers=disconnected):
        for name in disconnected:
            stage.networks[name].drop_silently()
        await stage.moment(2, 4)
        async with aioredis.Redis.from_url(stage.system.redis.url) as client:
            for group_id in stage.rng.sample(list(stage.groups), k=min(5, len(stage.groups))):
                with stage.fault(kinds.TRIMMED, feed=f"group:{group_id}"):
                    await client.ltrim(keys.feed(f"group:{group_id}").log, -1, -1)
        for name in disconnected:
            stage.networks[name].restore()
    await stage.moment(1, 2)


async def flushall(stage: Stage) -> None:
    """Delete everything; each gateway's position check detects it, and every reader is notified."""
    feeds = {f"group:{group_id}" for group_id in stage.groups}
    before = {
        (reader, feed): place[0]
        for reader in stage.ledger.readers if reader.name in stage.steady
        for feed, place in reader.places.items() if feed in feeds
    }  # fmt: skip
    async with aioredis.Redis.from_url(stage.system.redis.url) as client:
        with stage.fault(stage.flushed):
            await client.flushall()
    await stage.until(
        lambda: not any(reader.places[feed][0] == epoch for (reader, feed), epoch in before.items()),
        "a reader was not notified of the FLUSHALL",
    )


async def network_reset(stage: Stage) -> None:
    name, proxy = stage.rng.choice(list(stage.networks.items()))
    with stage.fault(kinds.NETWORK_RESET, readers=[name]):
        proxy.reset()
    await stage.moment()


async def network_stalled(stage: Stage) -> None:
    name, proxy = stage.rng.choice(list(stage.networks.items()))
    with stage.fault(kinds.NETWORK_STALLED, readers=[name]):
        proxy.stall()
        await stage.moment(0.5, 6)
        proxy.restore()


async def network_dropped(stage: Stage) -> None:
    name, proxy = stage.rng.choice(list(stage.networks.items()))
    with stage.fault(kinds.NETWORK_DROPPED, readers=[name]):
        proxy.drop_silently()
        await stage.moment(1, 5)
        proxy.restore()


async def clock_set_back(stage: Stage) -> None:
    process = stage.rng.choice(stage.system.gateways + stage.system.relays + stage.system.rpcs)
    with stage.fault(kinds.CLOCK_TURNED):
        stage.system.set_clock_back(process, stage.rng.choice((2, 60, 3_600)))
        await stage.moment(2, 5)
        stage.system.set_clock_back(process, 0)


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
    Fault("subscriptions killed, no traffic", ("redis", "traffic"), 2, subscriptions_killed_without_traffic),
    Fault("gateway killed, no traffic", ("gateway", "traffic"), 2, gateway_killed_without_traffic),
    Fault("active relay killed, no traffic", ("relay", "traffic"), 2, active_relay_killed_without_traffic),
    Fault("Redis killed, no traffic", ("redis", "relay", "traffic"), 2, redis_killed_without_traffic),
    Fault("log trimmed under readers", ("network", "redis"), 2, log_trimmed),
    Fault("FLUSHALL", PARTS, 1, flushall),
    Fault("reader's network reset", ("network",), 4, network_reset),
    Fault("reader's network stalled", ("network",), 2, network_stalled),
    Fault("reader's network dropped silently", ("network",), 3, network_dropped),
    Fault("clock of one process set back", ("rpc", "gateway"), 2, clock_set_back),
)

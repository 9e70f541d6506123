"""The faults of a world. Each begins at once, mends itself, and tells the ledger from when to when it acted.

`FAULTS` has their weights. A fault draws from its own random numbers only, so that a plan can be shortened.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation import database
from tests.simulation.chat_service.faults import Fault as ChatFault
from tests.simulation.network import Link, Weather
from tests.support.ledger import Kind

if TYPE_CHECKING:
    from tests.simulation.world import World

Fault = Callable[["World", random.Random], None]
TAKEOVER_SECONDS = 5.0
UNNOTICED_SECONDS = 12.0
"""A gateway compares its positions with the logs every ten seconds."""

WRITES_REFUSED = ("MISCONF", "OOM", "NOREPLICAS", "READONLY")
ALL_REFUSED = ("LOADING", "BUSY", "NOPERM", "MASTERDOWN", "CLUSTERDOWN")


def during(world: "World", kind: Kind, seconds: float, end: Callable[[], None] = lambda: None) -> None:
    """Record a fault that acts for so many seconds from now on; call ``end`` then."""
    cause = world.ledger.causes.begin(kind)

    def over() -> None:
        end()
        world.ledger.causes.end(cause)

    world.scheduler.after(seconds, over)


# Redis

CRASHED = Kind("Redis crashed", loses=False)
GOES_BACK: dict[str, Any] = {
    "budget": UNNOTICED_SECONDS, "loses": True, "unnoticed": UNNOTICED_SECONDS, "forgets": True, "repeats": True,
    "hides": True,
}  # fmt: skip
CRASHED_EVERYSEC = Kind("Redis crashed and lost a second", **GOES_BACK)
WENT_BACK = Kind("Redis went back: a replica that lagged took over", **GOES_BACK)
FLUSHED = Kind("FLUSHALL", **GOES_BACK)
TRIMMED = Kind("a log was trimmed", loses=True)
PAUSED = Kind("Redis was paused")
REFUSED = Kind("Redis answered with errors")
KILLED_CLIENTS = Kind("Redis ended connections", refuses=False)
FAILED_OVER = Kind("another Redis took over")
SUBSCRIPTION_SILENT_SECONDS = 4.5
SUBSCRIPTION_SILENT = Kind("a subscription connection fell silent")
"""A gateway finds that within `SUBSCRIPTION_SILENT_SECONDS`."""


def redis_crashes(world: "World", draws: random.Random) -> None:
    """Redis dies and starts again, at once or some seconds later; it may have lost the last second."""
    if not world.redis.is_up:
        return
    lost = world.lost.of(world.redis.crash)
    during(
        world,
        CRASHED_EVERYSEC if lost else CRASHED,
        draws.choice((0.1, 1.0, 5.0, 15.0)) * draws.random(),
        world.redis.start,
    )


def redis_goes_back(world: "World", draws: random.Random) -> None:
    """A replica that lags takes over: the writes of up to two seconds are gone, without a word."""
    if world.redis.can_go_back:
        world.lost.of(world.redis.go_back)
        during(world, WENT_BACK, 0.5)


def redis_is_flushed(world: "World", draws: random.Random) -> None:
    if world.redis.is_up:
        world.lost.of(lambda: world.redis.command("FLUSHALL"))
        during(world, FLUSHED, 0.1)


def redis_pauses(world: "World", draws: random.Random) -> None:
    world.redis.server.pause()
    during(world, PAUSED, draws.choice((0.2, 2.0, 8.0)) * draws.random(), world.redis.server.resume)


def redis_refuses_writes(world: "World", draws: random.Random) -> None:
    """Redis answers writes with an error for a while."""
    code, seconds = draws.choice(WRITES_REFUSED), draws.choice((0.3, 3.0, 15.0)) * draws.random()
    world.redis.server.errors(code, seconds, which="writes")
    during(world, REFUSED, seconds)


def redis_refuses_all(world: "World", draws: random.Random) -> None:
    """Redis answers everything with an error for a while."""
    code, seconds = draws.choice(ALL_REFUSED), draws.choice((0.3, 3.0, 15.0)) * draws.random()
    world.redis.server.errors(code, seconds, which="all")
    during(world, REFUSED, seconds)


def redis_ends_connections(world: "World", draws: random.Random) -> None:
    world.redis.server.kill_clients(draws.choice(("all", "pubsub", "pubsub", "normal")))
    during(world, KILLED_CLIENTS, 0.1)


def redis_fails_over(world: "World", draws: random.Random) -> None:
    """A replica without lag takes over, and the connections to the former master stay open: it is a replica now."""
    if world.redis.is_up:
        world.redis.server.fail_over()
        during(world, FAILED_OVER, 0.5)


def subscription_falls_silent(world: "World", draws: random.Random) -> None:
    """The connection over which a gateway receives publications loses everything without a word."""
    links = [link for one in world.live_gateways for link in world.redis.subscriber_links(one.process.name)]
    if links:
        link = draws.choice(links)
        link.cut_silently()
        world.silent_links.append(link)
        during(world, SUBSCRIPTION_SILENT, SUBSCRIPTION_SILENT_SECONDS * world.shape.patience)


def log_is_trimmed(world: "World", draws: random.Random) -> None:
    """A log loses all but its last entry: who reads behind that is told of a loss."""
    feed = world.any_feed(draws)
    cause = world.ledger.causes.begin(TRIMMED, feed=feed)
    world.redis.command("LTRIM", f"chatws:{{{feed}}}:log", "-1", "-1")
    world.scheduler.after(0.1, world.ledger.causes.end, cause)


# The network between the processes and Redis

CUT = Kind("connections to Redis were cut")
SILENT = Kind("a connection fell silent")
STALLED = Kind("connections to Redis stalled")
ANSWERS_LOST = Kind("answers of Redis were lost")
SLOW = Kind("a slow network")


def links_are_cut(world: "World", draws: random.Random) -> None:
    """Some connections of a process are reset."""
    links = world.network.of(world.any_process(draws).name)
    for link in draws.sample(links, draws.randint(0, len(links))):
        link.reset()
    during(world, CUT, 0.1)


def link_falls_silent(world: "World", draws: random.Random) -> None:
    """A connection of a process loses everything without a word: until it is used again, and times out.

    At the end of the storm the operating system finds it, by its keepalive.
    """
    links = [link for link in world.network.of(world.any_process(draws).name) if not link.out.is_silent]
    if not links:
        return
    link = draws.choice(links)
    link.cut_silently()
    cause, forget = world.ledger.causes.begin(SILENT), link.on_end

    def found(link: Link) -> None:
        forget(link)
        world.ledger.causes.end(cause)

    link.on_end = found
    world.silent_links.append(link)


def links_stall(world: "World", draws: random.Random) -> None:
    """What a process and Redis send each other arrives some seconds later."""
    links = world.network.of(world.any_process(draws).name)
    stalled = draws.sample(links, draws.randint(0, len(links)))
    for link in stalled:
        link.stall()

    def go_on() -> None:
        for link in stalled:
            link.go_on()

    during(world, STALLED, draws.choice((0.3, 3.0, 12.0)) * draws.random(), go_on)


def answers_are_lost(world: "World", draws: random.Random) -> None:
    """Commands arrive, their answers don't, and the connections end."""
    links = world.network.of(world.any_process(draws).name)
    for link in draws.sample(links, draws.randint(0, len(links))):
        link.back.drops = True
        world.scheduler.after(draws.choice((0.01, 0.1)), link.reset)
    during(world, ANSWERS_LOST, 0.2)


def network_is_slow(world: "World", draws: random.Random) -> None:
    """Everything takes longer, and some of it much longer."""
    slow_down(world, *draws.choice(((0.02, 0.1), (0.1, 0.5))), draws.uniform(0.5, 8))


def slow_down(world: "World", latency: float, longest: float, seconds: float) -> None:
    """Let everything take so long for a while; of two such whiles that overlap, the first to end ends both."""
    weather, usual = world.network.weather, Weather()
    weather.latency, weather.longest = latency, longest

    def mend() -> None:
        weather.latency, weather.longest = usual.latency, usual.longest

    during(world, SLOW, seconds, mend)


# Processes

GATEWAY_KILLED = Kind("a gateway was killed")
GATEWAY_STOPPED = Kind("a gateway was restarted")
GATEWAY_PAUSED = Kind("a gateway was paused", hides=True)
RELAY_KILLED = Kind("a relay was killed", budget=TAKEOVER_SECONDS)
RELAY_STOPPED = Kind("a relay was restarted", budget=TAKEOVER_SECONDS)
RELAY_PAUSED = Kind("a relay was paused", budget=TAKEOVER_SECONDS)
CLOCK_TURNED = Kind("a clock was wrong", turns_clock=True)


def gateway_is_killed(world: "World", draws: random.Random) -> None:
    slot = draws.choice(world.gateways)
    slot.kill()
    during(world, GATEWAY_KILLED, draws.choice((0.1, 2.0, 10.0)) * draws.random(), slot.start)


def gateway_is_restarted(world: "World", draws: random.Random) -> None:
    """SIGTERM: the gateway closes its connections, ends, and another begins."""
    slot = draws.choice(world.gateways)
    during(world, GATEWAY_STOPPED, 4.0 + draws.random(), slot.start)
    slot.stop()


def gateway_is_paused(world: "World", draws: random.Random) -> None:
    slot = draws.choice(world.gateways)
    slot.pause()
    during(world, GATEWAY_PAUSED, draws.choice((0.5, 5.0, 20.0)) * draws.random(), slot.go_on)


def relay_is_killed(world: "World", draws: random.Random) -> None:
    slot = draws.choice(world.relays)
    slot.kill()
    during(world, RELAY_KILLED, draws.choice((0.1, 2.0, 10.0)) * draws.random(), slot.start)


def relay_is_restarted(world: "World", draws: random.Random) -> None:
    """SIGTERM: the relay finishes its batch and gives its topics back."""
    slot = draws.choice(world.relays)
    during(world, RELAY_STOPPED, 1.0 + draws.random(), slot.start)
    slot.stop()


def relay_is_paused(world: "World", draws: random.Random) -> None:
    """A relay stops in the middle of its work, perhaps until another has taken over, and goes on."""
    slot = draws.choice(world.relays)
    slot.pause()
    during(world, RELAY_PAUSED, draws.choice((0.5, 5.0, 15.0)) * draws.random(), slot.go_on)


def clock_is_turned(world: "World", draws: random.Random) -> None:
    """The wall clock of a process jumps, and is set right again."""
    process = world.any_process(draws)
    process.wall_offset = draws.choice((-3600.0, -60.0, -2.0, 2.0, 60.0))

    def set_right() -> None:
        process.wall_offset = 0.0

    during(world, CLOCK_TURNED, draws.uniform(1, 20), set_right)


# The chat service

CHAT_FAILS = Kind("the chat service failed")
CHAT_KILLED = Kind("an instance of the chat service was killed")
CHAT_PAUSED = Kind("an instance of the chat service hung")
EVENTS_HELD = Kind("the chat service's publisher was killed")


def chat_fails(world: "World", draws: random.Random) -> None:
    """Some or all calls fail, hang, are served and fail, or are served late."""
    fault = draws.choice(list(ChatFault))
    methods = draws.choice(((), ("SaveMessage",), ("SaveMessage",), ("GetUserGroups",), ("GetMessageHistory",)))
    world.chat.faults.begin(fault, *methods, share=draws.choice((0.3, 1.0)), seconds=draws.uniform(0.5, 8))
    during(world, CHAT_FAILS, draws.choice((0.5, 3.0, 10.0)) * draws.random(), world.chat.faults.end)


def chat_instance_is_killed(world: "World", draws: random.Random) -> None:
    instance = draws.choice(world.chat.instances)
    if instance.is_up:
        draws.choice((instance.kill, instance.stop))()
        during(world, CHAT_KILLED, draws.uniform(0.1, 5), instance.start)


def chat_instance_hangs(world: "World", draws: random.Random) -> None:
    instance = draws.choice(world.chat.instances)
    instance.pause()
    during(world, CHAT_PAUSED, draws.uniform(0.1, 8), instance.go_on)


def publisher_is_killed(world: "World", draws: random.Random) -> None:
    """The process that publishes the chat service's events dies; its outbox stays."""
    if world.chat.publisher.process is not None:
        world.chat.publisher.kill()
        during(world, EVENTS_HELD, draws.uniform(0.1, 5), world.chat.publisher.start)


# The database

DATABASE_AWAY = Kind("the database was away")


def database_is_away(world: "World", draws: random.Random) -> None:
    """The database of cursors, audit and revocations can't be reached."""
    leave = database.leave()
    during(world, DATABASE_AWAY, draws.choice((1.0, 20.0)) * draws.random(), leave)


FAULTS: dict[str, tuple[Fault, float]] = {
    fault.__name__: (fault, weight)
    for fault, weight in (
        (redis_crashes, 2.0), (redis_goes_back, 0.5), (redis_is_flushed, 0.5), (redis_pauses, 2.0),
        (redis_refuses_writes, 2.0), (redis_refuses_all, 2.0), (redis_ends_connections, 4.0), (log_is_trimmed, 1.0),
        (redis_fails_over, 1.0), (subscription_falls_silent, 1.0),
        (links_are_cut, 4.0), (link_falls_silent, 2.0), (links_stall, 3.0), (answers_are_lost, 4.0),
        (network_is_slow, 2.0), (gateway_is_killed, 2.0), (gateway_is_restarted, 1.0), (gateway_is_paused, 2.0),
        (relay_is_killed, 2.0), (relay_is_restarted, 1.0), (relay_is_paused, 2.0), (clock_is_turned, 1.0),
        (chat_fails, 3.0), (chat_instance_is_killed, 1.0), (chat_instance_hangs, 1.0), (publisher_is_killed, 1.0),
        (database_is_away, 1.0),
    )
}  # fmt: skip
"""Each fault by its name, with its weight."""

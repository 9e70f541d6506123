"""Scenes of failures in the middle of a work: within a batch, of some keys only, of two gateways at once."""

import random
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from chatws.events import routes
from realtime import conf as realtime_conf
from realtime.redis import keys
from tests.simulation import actions, faults
from tests.simulation.plan import DEFAULT_LEASE
from tests.simulation.redis.faults import Under
from tests.simulation.scenes.moments import HELD, PARTLY_REFUSED, in_slow_motion, later, slow_to_redis, talk
from tests.support.ledger import Kind

if TYPE_CHECKING:
    from tests.simulation.world import Slot, World

CURSOR_LOST = Kind("Redis lost a relay's cursor", budget=faults.TAKEOVER_SECONDS)
LONG_LEASE = 12.0
OTHER_GROUP = "another service"


def fails_within_a_batch(world: "World", draws: random.Random) -> None:
    """Redis takes the first commands of a relay's batch and fails before the others; then nothing that could help."""
    faults.slow_down(world, 0.05, 0.1, 2.0)
    for _ in range(draws.randint(1, 4)):
        later(world, draws, 0.2, actions.say, world, draws)
    what = (faults.redis_refuses_all, faults.redis_refuses_all, faults.redis_crashes, faults.redis_pauses)
    later(world, draws, 1.2, draws.choice(what), world, draws)


def a_part_is_refused(world: "World", draws: random.Random) -> None:
    """Redis refuses each command about some keys, for longer than a relay's first tries, and takes all others."""
    prefix = draws.choice(("{group:", "{group:", "{user:", f"{{{routes.MESSAGE_NEW}}}"))
    seconds = draws.choice((0.5, 4.0, 8.0)) * draws.uniform(0.5, 1.0)
    talk(world, draws, 2)
    world.redis.server.errors("NOPERM", seconds, which=Under(f"{keys.prefix()}{prefix}".encode()))
    faults.during(world, PARTLY_REFUSED, seconds)
    later(world, draws, seconds, talk, world, draws, 3)
    if draws.random() < 0.3:
        later(world, draws, seconds, draws.choice((faults.relay_is_restarted, faults.relay_is_killed)), world, draws)


def poison_among_messages(world: "World", draws: random.Random) -> None:
    """Entries that nobody can read come between messages, in one batch, and a relay perhaps ends within it."""
    for slot in world.relays:
        slot.pause()
        faults.during(world, HELD, 0.6, slot.go_on)
    for _ in range(draws.randint(1, 3)):
        later(world, draws, 0.5, world.add_poison, draws)
        later(world, draws, 0.5, talk, world, draws, 2)
    if draws.random() < 0.7:
        faults.slow_down(world, 0.05, 0.1, 2.5)
        world.scheduler.after(0.6 + draws.uniform(0, 1.2), relays_are_killed, world, draws)


def relays_are_killed(world: "World", draws: random.Random) -> None:
    """All relays die at once."""
    for slot in world.relays:
        slot.kill()
        faults.during(world, faults.RELAY_KILLED, draws.uniform(0.1, 2), slot.start)


def cursor_is_lost(world: "World", draws: random.Random) -> None:
    """While no relay runs, Redis loses where they were, or everything; entries follow before a relay starts again.

    The consumer group, which shows the same position, may be lost with the cursor.
    """
    for slot in world.relays:
        slot.kill()
        faults.during(world, CURSOR_LOST, 1.0 + draws.random(), slot.start)
    talk(world, draws, 2)
    if draws.random() < 0.5:
        later(world, draws, 0.5, faults.redis_is_flushed, world, draws)
    else:
        topic = draws.choice((routes.MESSAGE_NEW, routes.MEMBER_REMOVED))
        later(world, draws, 0.5, world.redis.command, "DEL", keys.cursor(topic))
        if draws.random() < 0.5:
            group = realtime_conf.get().consumer_group
            later(world, draws, 0.9, world.redis.command, "XGROUP", "DESTROY", topic, group)
    for _ in range(3):
        world.scheduler.after(draws.uniform(0.5, 0.9), actions.say, world, draws)
    world.scheduler.after(0.9, actions.remove, world, draws)


def another_group_is_ahead(world: "World", draws: random.Random) -> None:
    """Another consumer group of the streams has read all that the relays, which were held, have not."""
    for slot in world.relays:
        slot.pause()
        faults.during(world, HELD, 2.0, slot.go_on)
    talk(world, draws, 5)
    for topic in world.topics:
        world.scheduler.after(1.5, _reads_on, world, topic)


def _reads_on(world: "World", topic: str) -> None:
    if b"no such key" not in bytes(repr(world.redis.command("XINFO", "STREAM", topic)), "utf-8"):
        world.redis.command("XGROUP", "CREATE", topic, OTHER_GROUP, "$")
        world.redis.command("XGROUP", "SETID", topic, OTHER_GROUP, "$")


def gateways_wake_together(world: "World", draws: random.Random) -> None:
    """A gateway dies, and the others look for the dead at the same moment, as after a pause of their machine."""
    lease = _lease(world)
    dead, *others = draws.sample(world.gateways, len(world.gateways))
    if not others or lease > LONG_LEASE:
        return
    for user_id in world.users:
        world.add_device(user_id)
    world.scheduler.after(3.0, dead.kill)
    faults.during(world, faults.GATEWAY_KILLED, 3.0 + 2 * lease, dead.start)
    for slot in others:
        world.scheduler.after(3.0 + lease * 0.5, slot.pause)
    faults.during(world, faults.GATEWAY_PAUSED, 3.0 + lease * draws.uniform(0.9, 1.2), partial(_wake, others))
    in_slow_motion(world, draws, 4.0 + 2 * lease)


def _wake(slots: "Sequence[Slot]") -> None:
    for slot in slots:
        slot.go_on()


def _lease(world: "World") -> float:
    return dict(world.shape.settings).get("presence_lease", DEFAULT_LEASE)


def gateway_sleeps_past_its_lease(world: "World", draws: random.Random) -> None:
    """A gateway is paused until the others have removed its connections, and goes on."""
    if _lease(world) <= LONG_LEASE:
        slot, seconds = draws.choice(world.gateways), _lease(world) * draws.uniform(1.0, 1.6)
        slot.pause()
        faults.during(world, faults.GATEWAY_PAUSED, seconds, slot.go_on)
        later(world, draws, seconds, actions.flash, world, draws)


def redis_is_away_for_a_lease(world: "World", draws: random.Random) -> None:
    """Redis keeps its data and is away until all leases have ended; one gateway reaches it later than others."""
    if world.redis.is_up and not world.shape.everysec and _lease(world) <= LONG_LEASE:
        seconds = _lease(world) * draws.uniform(1.0, 1.5)
        world.redis.crash()
        faults.during(world, faults.CRASHED, seconds, world.redis.start)
        late = draws.choice(world.gateways)
        world.scheduler.after(seconds, _reaches_redis_late, world, late, world.scheduler.now + seconds + 2.0)


def _reaches_redis_late(world: "World", slot: "Slot", until: float) -> None:
    """Let what a gateway sends to Redis take longer than what others send, on each new connection."""
    links = world.redis.commands_of(slot.running.process.name) if slot.running is not None else []
    if fresh := [link for link in links if not link.out.delay]:
        slow_to_redis(world, fresh, 0.9, 3.0)
    if world.scheduler.now < until:
        world.scheduler.after(0.01, _reaches_redis_late, world, slot, until)


def connections_end_under_traffic(world: "World", draws: random.Random) -> None:
    """Redis ends connections while commands are on their way, or while nothing is: nobody is refused because of it."""
    if draws.random() < 0.7:
        for _ in range(4):
            later(world, draws, 0.01, draws.choice((actions.say, actions.flash)), world, draws)
    world.scheduler.after(draws.uniform(0, 0.02), world.redis.server.kill_clients, draws.choice(("all", "normal")))
    faults.during(world, faults.KILLED_CLIENTS, 0.1)
    later(world, draws, 0.1, talk, world, draws, 2)


def another_redis_takes_over(world: "World", draws: random.Random) -> None:
    """A failover after which the old connections stay open; before and behind it something is said."""
    talk(world, draws, 2)
    later(world, draws, 0.2, faults.redis_fails_over, world, draws)
    for _ in range(4):
        later(world, draws, draws.choice((0.5, 6.0)), draws.choice((actions.say, actions.flash)), world, draws)


def silence_before_messages(world: "World", draws: random.Random) -> None:
    """A gateway's subscription connection falls silent; some messages afterwards, and nothing that could help."""
    faults.subscription_falls_silent(world, draws)
    for _ in range(3):
        later(world, draws, draws.choice((2.0, 9.0)), actions.say, world, draws)


def group_begins_while_subscribing_is_refused(world: "World", draws: random.Random) -> None:
    """A chat group is created while Redis refuses each SUBSCRIBE: its feed is received as soon as that is over."""
    seconds = draws.choice((0.5, 3.0, 8.0)) * draws.uniform(0.3, 1.0)
    world.redis.server.errors("NOPERM", seconds, which=frozenset({"subscribe"}))
    faults.during(world, PARTLY_REFUSED, seconds)
    later(world, draws, seconds / 2, _create, world, draws)
    later(world, draws, seconds + 3, talk, world, draws, 2)


def _create(world: "World", draws: random.Random) -> None:
    owner, *others = draws.sample(world.users, draws.randint(1, len(world.users)))
    world.groups.append(world.chat.create(owner, *others))


SCENES = (
    group_begins_while_subscribing_is_refused,
    fails_within_a_batch, a_part_is_refused, poison_among_messages, cursor_is_lost, another_group_is_ahead,
    gateways_wake_together, gateway_sleeps_past_its_lease, redis_is_away_for_a_lease, connections_end_under_traffic,
    another_redis_takes_over, silence_before_messages,
)  # fmt: skip

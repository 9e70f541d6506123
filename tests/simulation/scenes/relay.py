"""Scenes of the relay and of the logs that it writes."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chatws.events import routes
from tests.simulation import actions, faults
from tests.simulation.scenes.moments import HELD, in_slow_motion, later, talk

if TYPE_CHECKING:
    from tests.simulation.world import World


BATCH_BYTES = 700
"""A command with publications has about as many, others have not."""
LONGEST_MEMORY = 15.0
"""How long ids may be remembered so that a world sees their end, in seconds."""


def relay_stops_in_a_batch(world: "World", draws: random.Random) -> None:
    """A relay is paused, killed or stopped within the moments in which it delivers a batch."""
    talk(world, draws, 5)
    if draws.random() < 0.5:
        actions.remove(world, draws)
    in_slow_motion(world, draws, 0.5)
    what = draws.choice((faults.relay_is_paused, faults.relay_is_killed, faults.relay_is_restarted))
    later(world, draws, 0.2, what, world, draws)
    for _ in range(3):
        later(world, draws, 6, actions.say, world, draws)


def event_comes_twice(world: "World", draws: random.Random) -> None:
    """A message is added to its stream again, at once and once more some seconds later."""
    if words := _last_messages(world):
        again = draws.choice(words)
        for seconds in (draws.uniform(0, 0.01), draws.uniform(0, min(12.0, world.id_seconds * 0.8))):
            world.scheduler.after(seconds, world.publish_again, again)
        talk(world, draws, 2)


def publish_again(world: "World", draws: random.Random) -> None:
    """Add one of the last messages to its stream again."""
    if words := _last_messages(world):
        world.publish_again(draws.choice(words))


def _last_messages(world: "World") -> list[Any]:
    """Return the fields of the last entries of the stream of messages."""
    entries: Any = world.redis.model.dump().get(routes.MESSAGE_NEW.encode(), ())
    return [fields for _, fields in entries][-3:]


def event_comes_after_its_id_expired(world: "World", draws: random.Random) -> None:
    """A message is added to its stream again when Redis has forgotten its id: an application receives it once."""
    entries: Any = world.redis.model.dump().get(routes.MESSAGE_NEW.encode(), ())
    known = [fields for entry_id, fields in entries if entry_id not in world.poison][-3:]
    if known and world.id_seconds <= LONGEST_MEMORY:
        later = 2 * world.id_seconds + draws.uniform(1, 5)
        world.scheduler.after(later, _comes_late, world, draws.choice(known))


def _comes_late(world: "World", fields: Sequence[bytes]) -> None:
    world.ledger.published_again[world.message_of(fields)] += 1
    world.publish_again(fields)


def batch_arrives_late(world: "World", draws: random.Random) -> None:
    """A relay is paused with a batch on its way to Redis, until its ids are forgotten; then both arrive and go on."""
    if world.id_seconds > LONGEST_MEMORY or len(world.relays) < 2:
        return
    faults.slow_down(world, 0.05, 0.1, 1.0)
    for _ in range(4):
        later(world, draws, 0.3, actions.say, world, draws)
    world.scheduler.after(0.1, _pause_within_a_batch, world, world.scheduler.now + 1.0)


def _pause_within_a_batch(world: "World", until: float) -> None:
    """Pause the first relay that has much on its way, and hold that back; another relay takes over meanwhile."""
    for slot in world.relays:
        links = world.redis.commands_of(slot.running.process.name) if slot.running is not None else []
        if any(link.out.in_flight >= BATCH_BYTES for link in links):
            seconds = 2 * world.id_seconds + faults.TAKEOVER_SECONDS
            slot.pause()
            for link in links:
                link.stall()
                faults.during(world, HELD, seconds, link.go_on)
            faults.during(world, HELD, seconds + 0.1, slot.go_on)
            return
    if world.scheduler.now < until:
        world.scheduler.after(0.01, _pause_within_a_batch, world, until)


def trimmed_behind(world: "World", draws: random.Random) -> None:
    """A log loses some of its oldest entries while a device that missed about as many is away."""
    device = actions.a_device(world, draws)
    if device is None or not world.groups_of(device.user_id):
        return
    group_id = draws.choice(sorted(world.groups_of(device.user_id)))
    device.reset()
    talk(world, draws, 4)
    cause = world.ledger.causes.begin(faults.TRIMMED, feed=f"group:{group_id}")
    kept = draws.randint(1, 4)
    later(world, draws, 0.3, world.redis.command, "LTRIM", f"chatws:{{group:{group_id}}}:log", str(-kept), "-1")
    world.scheduler.after(2.0, world.ledger.causes.end, cause)


SCENES = (
    relay_stops_in_a_batch,
    event_comes_twice,
    event_comes_after_its_id_expired,
    batch_arrives_late,
    trimmed_behind,
)

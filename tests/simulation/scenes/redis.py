"""Scenes of Redis: connections that end, writes that are lost, commands that are refused."""

import random
from typing import TYPE_CHECKING

from tests.simulation import actions, faults
from tests.simulation.scenes.moments import PARTLY_REFUSED, go_back, in_slow_motion, later, out_of_step, talk

if TYPE_CHECKING:
    from tests.simulation.world import World


def quiet_after_a_cut(world: "World", draws: random.Random) -> None:
    """The subscription connections end, or fall silent; some messages; then nothing that could help."""
    if draws.random() < 0.7:
        later(world, draws, 0.02, world.redis.server.kill_clients, "pubsub")
        faults.during(world, faults.KILLED_CLIENTS, 0.1)
    else:
        faults.link_falls_silent(world, draws)
    if draws.random() < 0.5:
        later(world, draws, 0.3, out_of_step, world, draws, 0.5)
    for _ in range(3):
        later(world, draws, draws.choice((0.05, 0.3)), actions.say, world, draws)
    if draws.random() < 0.3:
        faults.redis_refuses_all(world, draws)


def opened_in_a_cut(world: "World", draws: random.Random) -> None:
    """Feeds are opened while the subscription connection is being made, or a SUBSCRIBE is refused."""
    in_slow_motion(world, draws, 1)
    if draws.random() < 0.5:
        later(world, draws, 0.1, world.redis.server.kill_clients, "pubsub")
        faults.during(world, faults.KILLED_CLIENTS, 0.1)
    else:
        seconds = draws.choice((0.5, 3.0, 8.0)) * draws.random()
        world.redis.server.errors("NOPERM", seconds, which=frozenset({"subscribe"}))
        faults.during(world, PARTLY_REFUSED, seconds)
    for _ in range(2):
        later(world, draws, 0.2, draws.choice((actions.device_comes, actions.add, actions.flash)), world, draws)
    later(world, draws, 0.3, talk, world, draws, 2)


def goes_back_under_traffic(world: "World", draws: random.Random) -> None:
    """Redis loses the last writes, and as many follow at once."""
    talk(world, draws, draws.randint(1, 4))
    devices = [device for device in world.clients if not device.is_over]
    if devices and draws.random() < 0.5:
        draws.choice(devices).reset()
    if draws.random() < 0.4:
        later(world, draws, 0.4, actions.flash, world, draws)
    what = draws.choice((faults.redis_goes_back, faults.redis_goes_back, faults.redis_is_flushed))
    world.scheduler.after(draws.choice((0.05, 0.5)), what, world, draws)
    world.scheduler.after(0.7, talk, world, draws, draws.randint(0, 5))


def visitors_are_forgotten(world: "World", draws: random.Random) -> None:
    """One device ends and another begins, and Redis forgets both: its count of connections is right, and no name is."""
    devices = [device for device in world.clients if not device.is_over and device.is_online]
    if devices:
        world.add_device(draws.choice(world.users))
        draws.choice(devices).finish()
    world.scheduler.after(draws.uniform(0.2, 0.6), go_back, world)


def partly_refused(world: "World", draws: random.Random) -> None:
    """Redis takes some commands and refuses others, for a while that perhaps begins within a batch of the relay."""
    which = draws.choice(({"evalsha"}, {"xread"}, {"xadd"}, {"hmget"}))
    seconds = draws.choice((0.3, 4.0, 8.0)) * draws.random()
    talk(world, draws, 3)
    world.scheduler.after(draws.uniform(0, 0.02), _refuse, world, which, seconds)
    later(world, draws, seconds, talk, world, draws, 3)
    if draws.random() < 0.5:
        later(world, draws, seconds, draws.choice((faults.relay_is_restarted, faults.relay_is_killed)), world, draws)


def _refuse(world: "World", which: set[str], seconds: float) -> None:
    world.log.note(f"Redis refuses {', '.join(which)} for {seconds:.1f} s")
    world.redis.server.errors("OOM", seconds, which=frozenset(which))
    faults.during(world, PARTLY_REFUSED, seconds)


def refused_while_resuming(world: "World", draws: random.Random) -> None:
    """A device resumes behind missed messages while Redis refuses, or the links to it end."""
    for device in world.clients:
        if not device.is_over and draws.random() < 0.7:
            device.reset()
    talk(world, draws, 4)
    in_slow_motion(world, draws, 1)
    later(world, draws, 0.5, out_of_step, world, draws, 0.5)
    what = draws.choice((faults.redis_refuses_all, faults.links_are_cut, faults.answers_are_lost, faults.redis_crashes))
    later(world, draws, 0.8, what, world, draws)


SCENES = (
    quiet_after_a_cut,
    opened_in_a_cut,
    goes_back_under_traffic,
    visitors_are_forgotten,
    partly_refused,
    refused_while_resuming,
)

"""Scenes of administrators: connections that are ended from elsewhere, and tokens that are revoked."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from realtime.close_codes import CloseCode
from realtime.redis import keys
from tests.simulation import faults
from tests.simulation.scenes.moments import in_slow_motion, later
from tests.support.ledger import Kind

if TYPE_CHECKING:
    from tests.simulation.members import Member
    from tests.simulation.world import World

CLOCK_BACK = Kind("Redis's clock went back", budget=faults.UNNOTICED_SECONDS)
BACK_SECONDS = 5.0


def connections_are_ended(world: "World", draws: random.Random) -> None:
    """An administrator ends some connections at once, perhaps while Redis or a gateway does not answer."""
    devices = [device for device in world.clients if not device.is_over and device.reader.is_connected]
    some = draws.sample(devices, min(len(devices), draws.randint(1, 3)))
    if draws.random() < 0.5:
        in_slow_motion(world, draws, 1)
        what = (faults.gateway_is_paused, faults.redis_pauses, faults.links_are_cut, faults.redis_crashes)
        later(world, draws, 0.5, draws.choice(what), world, draws)
    _end(world, draws, some)


def _end(world: "World", draws: random.Random, some: "Sequence[Member]") -> None:
    world.administrator.end([device.connection_id for device in some], CloseCode.FORBIDDEN)
    for device in some:
        device.may_be_ended = True
        world.scheduler.after(draws.uniform(3, 8), world.begin_device, device.user_id)


def ended_after_the_clock_went_back(world: "World", draws: random.Random) -> None:
    """Redis's clock is set back and the requests have expired; the next ones have earlier ids than those before."""
    devices = [device for device in world.clients if not device.is_over and device.reader.is_connected]
    if len(devices) < 2 or not world.redis.is_up:
        return
    first, second = draws.sample(devices, 2)
    _end(world, draws, [first])

    def turn() -> None:
        if world.redis.is_up:
            world.lost.of(lambda: world.redis.command("DEL", keys.terminations()))
            world.redis.wall_offset -= BACK_SECONDS
            faults.during(world, CLOCK_BACK, 2 * BACK_SECONDS)

    world.scheduler.after(1.5, turn)
    world.scheduler.after(1.6, _end_if_in_use, world, draws, second)


def _end_if_in_use(world: "World", draws: random.Random, device: "Member") -> None:
    if not device.is_over and device.reader.is_connected:
        _end(world, draws, [device])


def tokens_are_revoked(world: "World", draws: random.Random) -> None:
    """An administrator revokes the tokens of a user while devices of it connect."""
    user_id = draws.choice(world.users)
    if user_id in world.administrator.revoked:  # a client gives up if two tokens in a row are refused
        return
    later(world, draws, 0.3, world.administrator.revoke, user_id)
    for device in world.clients:
        if device.user_id == user_id and not device.is_over and draws.random() < 0.5:
            later(world, draws, 0.3, device.reset)
    if draws.random() < 0.5:
        in_slow_motion(world, draws, 1)
        later(world, draws, 0.5, draws.choice((faults.redis_crashes, faults.links_are_cut)), world, draws)


SCENES = (connections_are_ended, ended_after_the_clock_went_back, tokens_are_revoked)

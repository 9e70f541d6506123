"""Scenes of gaps: many messages of one chat group are missed, their log is trimmed, or Redis has lost some of them."""

import random
from functools import partial
from typing import TYPE_CHECKING

from tests.simulation import actions, faults
from tests.simulation.scenes.moments import (
    HELD,
    PARTLY_REFUSED,
    a_member,
    devices_in,
    go_back,
    hints_are_lost,
    later,
    one_side_is_slow,
    remove,
    speak,
    speak_in_each,
    the_chat_service_is_slow,
)

if TYPE_CHECKING:
    from tests.simulation.network import Link
    from tests.simulation.world import World


def missed_in_one_feed(world: "World", draws: random.Random) -> None:
    """A gateway misses some or many messages of one chat group, whose log is perhaps trimmed; then silence."""
    group_id, seconds, count = draws.choice(world.groups), draws.uniform(0.3, 2.5), draws.choice((1, 3, 9, 14))
    hints_are_lost(world, draws, seconds)
    if draws.random() < 0.5:
        world.scheduler.after(seconds - 0.1, one_side_is_slow, world, draws, 2.0)
        world.scheduler.after(seconds + draws.uniform(0, 2), speak, world, draws, group_id, 1)
    later(world, draws, seconds - 0.2, speak, world, draws, group_id, count)
    if draws.random() < 0.4:
        kept = max(1, count - draws.choice((1, 1, 2, 5)))
        cause = world.ledger.causes.begin(faults.TRIMMED, feed=f"group:{group_id}")
        world.scheduler.after(seconds, _trim, world, group_id, kept)
        world.scheduler.after(seconds + 4.0, world.ledger.causes.end, cause)


def _trim(world: "World", group_id: str, kept: int) -> None:
    world.redis.command("LTRIM", f"chatws:{{group:{group_id}}}:log", str(-kept), "-1")


def device_misses_much(world: "World", draws: random.Random) -> None:
    """A device has no network while some or many messages of one chat group are published."""
    group_id = draws.choice(world.groups)
    devices = devices_in(world, group_id)
    if len(devices) < 2:
        return
    device, seconds = draws.choice(devices), draws.uniform(1, 4)
    cause = world.ledger.causes.begin(actions.SILENT, readers=[device.reader.name])
    device.lose_network(seconds)
    device.reset()
    world.scheduler.after(seconds, world.ledger.causes.end, cause)
    for _ in range(draws.choice((1, 3, 6))):
        later(world, draws, seconds - 0.5, speak, world, draws, group_id, draws.choice((1, 2, 5)))


def replaced_under_one_feed(world: "World", draws: random.Random) -> None:
    """Redis loses the last messages of one chat group, and about as many follow at once."""
    group_id = draws.choice(world.groups)
    speak(world, draws, group_id, draws.choice((1, 1, 2, 3)))
    if draws.random() < 0.5:
        world.scheduler.after(0.2, one_side_is_slow, world, draws, 2.0)
    seconds = draws.choice((0.1, 0.3))
    world.scheduler.after(seconds, _go_back, world, draws)
    for _ in range(draws.choice((1, 1, 2, 3))):
        later(world, draws, seconds + draws.choice((0.1, 0.5)), speak, world, draws, group_id, 1)
    for _ in range(3):
        world.scheduler.after(seconds + draws.uniform(0, 1.5), speak, world, draws, group_id, 1)


def replaced_unheard(world: "World", draws: random.Random) -> None:
    """Redis loses the last messages of a chat group; no gateway hears of as many others, and then of the next one."""
    group_id, count = draws.choice(world.groups), draws.choice((1, 2, 3))
    speak(world, draws, group_id, count)
    world.scheduler.after(0.5, _go_back, world, draws, 1.0)
    world.scheduler.after(0.6, _hear_nothing, world, 1.0)
    world.scheduler.after(0.7, speak, world, draws, group_id, count)
    world.scheduler.after(2.0, speak, world, draws, group_id, 1)


def _hear_nothing(world: "World", seconds: float) -> None:
    """Lose what the subscriptions bring, and keep the connections."""
    for gateway in world.live_gateways:
        for link in world.redis.subscriptions_of(gateway.process.name):
            link.back.drops = True
            faults.during(world, faults.ANSWERS_LOST, seconds, partial(_hear, link))


def _hear(link: "Link") -> None:
    link.back.drops = False


def _go_back(world: "World", draws: random.Random, keeps_share: float = 0.4) -> None:
    if world.redis.can_go_back:
        go_back(world, keeps_subscriptions=draws.random() < keeps_share)


def removal_is_lost(world: "World", draws: random.Random) -> None:
    """Redis loses a removal, before a relay or before all gateways have seen it; messages follow at once."""
    chosen = a_member(world, draws)
    if chosen is None:
        return
    group_id, user_id = chosen
    speak(world, draws, group_id, draws.choice((0, 1, 2)))
    if draws.random() < 0.4:
        for slot in world.relays:
            slot.pause()
            faults.during(world, HELD, 1.0, slot.go_on)
    else:
        world.scheduler.after(0.15, hints_are_lost, world, draws, 0.9, 0.5)
    if draws.random() < 0.7:
        the_chat_service_is_slow(world, draws, 4.0, 3.0)
    world.scheduler.after(0.2, remove, world, group_id, user_id)
    world.scheduler.after(draws.uniform(0.3, 0.9), _go_back, world, draws)
    for _ in range(8):
        world.scheduler.after(draws.uniform(0.5, 3.0), speak, world, draws, group_id, 1)


def removal_is_trimmed(world: "World", draws: random.Random) -> None:
    """A gateway misses a removal, and the log has lost it before it looks; messages follow before it has asked."""
    chosen = a_member(world, draws)
    if chosen is None:
        return
    group_id, user_id = chosen
    hints_are_lost(world, draws, 1.0, 0.5)
    the_chat_service_is_slow(world, draws, 6.0, 3.0)
    world.scheduler.after(0.2, remove, world, group_id, user_id)
    world.scheduler.after(0.5, speak, world, draws, group_id, 3)
    cause = world.ledger.causes.begin(faults.TRIMMED, feed=f"group:{group_id}")
    world.scheduler.after(0.9, _trim, world, group_id, 1)
    world.scheduler.after(5.0, world.ledger.causes.end, cause)
    for _ in range(8):
        world.scheduler.after(draws.uniform(1.0, 4.0), speak, world, draws, group_id, 1)


def refused_between_tails(world: "World", draws: random.Random) -> None:
    """Redis refuses commands, or doesn't answer, while devices resume behind missed messages of several chat groups."""
    for device in world.clients:
        if not device.is_over and draws.random() < 0.7:
            device.reset()
            speak_in_each(world, draws, device.user_id)
    delay = one_side_is_slow(world, draws, 3.0)
    what = draws.choice((_refuse_scripts, _stall, faults.redis_refuses_all, faults.answers_are_lost))
    world.scheduler.after(0.1 + draws.uniform(0, 6 * delay), what, world, draws)


def _refuse_scripts(world: "World", draws: random.Random) -> None:
    seconds = draws.choice((0.2, 1.0))
    world.redis.server.errors("OOM", seconds, which=frozenset({"evalsha"}))
    faults.during(world, PARTLY_REFUSED, seconds)


def _stall(world: "World", draws: random.Random) -> None:
    """Keep back Redis's answers for longer than a gateway waits."""
    for gateway in world.live_gateways:
        for link in world.redis.commands_of(gateway.process.name):
            link.stall()
            faults.during(world, faults.STALLED, draws.uniform(3.0, 7.0), link.go_on)


def flushed_in_silence(world: "World", draws: random.Random) -> None:
    """Redis is flushed, and perhaps a message follows."""
    faults.redis_is_flushed(world, draws)
    if draws.random() < 0.3:
        later(world, draws, 15.0, speak, world, draws, draws.choice(world.groups), 1)


SCENES = (
    missed_in_one_feed,
    device_misses_much,
    replaced_under_one_feed,
    replaced_unheard,
    removal_is_lost,
    removal_is_trimmed,
    refused_between_tails,
    flushed_in_silence,
)

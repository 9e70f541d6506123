"""Scenes of memberships: removed and added again, in the moments in which a device connects or joins."""

import random
from typing import TYPE_CHECKING

from tests.simulation import actions, faults
from tests.simulation.chat_service.faults import Fault as ChatFault
from tests.simulation.scenes import relay
from tests.simulation.scenes.moments import (
    HELD,
    LONGEST_BLINDNESS,
    in_slow_motion,
    later,
    membership_seconds,
    out_of_step,
    talk,
)

if TYPE_CHECKING:
    from tests.simulation.world import World


def one_batch(world: "World", draws: random.Random) -> None:
    """Messages, a removal, an addition and more messages reach the relays while they are held: they come together."""
    for slot in world.relays:
        slot.pause()
        faults.during(world, HELD, 0.6, slot.go_on)
    talk(world, draws, 3)
    for what in (actions.remove, actions.say, actions.say, actions.add, actions.say):
        later(world, draws, 0.5, what, world, draws)
    for _ in range(2):
        later(world, draws, 0.6, relay.publish_again, world, draws)


def removed_while_subscribing(world: "World", draws: random.Random) -> None:
    """A device connects again behind missed messages, or joins again, and its user is removed in that moment."""
    device = actions.a_device(world, draws)
    if device is None or not world.groups_of(device.user_id):
        return
    group_id = draws.choice(sorted(world.groups_of(device.user_id)))
    in_slow_motion(world, draws, 3)
    world.scheduler.after(draws.choice((0.05, 0.3)), out_of_step, world, draws, 1.0)
    if draws.random() < 0.5:
        device.reset()
    else:
        device.leave(group_id)
        later(world, draws, 0.3, device.join, group_id)
    talk(world, draws, 3)
    if world.chat.store.groups[group_id].owner_id != device.user_id:
        later(world, draws, draws.choice((0.1, 1.0)), _remove, world, draws, group_id, device.user_id)
    world.scheduler.after(1.0, talk, world, draws, 2)


def _remove(world: "World", draws: random.Random, group_id: str, user_id: int) -> None:
    if user_id in world.chat.store.groups[group_id].members:
        actions._change(world, group_id, user_id, is_in=False)
        talk(world, draws, 2)
        if draws.random() < 0.5:
            later(world, draws, 0.5, actions._change_back, world, group_id, user_id)


def newcomer_is_removed(world: "World", draws: random.Random) -> None:
    """A user connects where perhaps nobody receives its groups, and is removed before that is over."""
    user_id = draws.choice(world.users)
    groups = [one for one in sorted(world.groups_of(user_id)) if world.chat.store.groups[one].owner_id != user_id]
    for device in world.clients:
        if device.user_id == user_id and not device.is_over and draws.random() < 0.7:
            device.reset()
    in_slow_motion(world, draws, 2)
    later(world, draws, 0.1, out_of_step, world, draws, 1.0)
    device = world.add_device(user_id)
    if groups:
        later(world, draws, draws.choice((0.02, 0.2, 1.0)), _remove, world, draws, draws.choice(groups), user_id)
    world.scheduler.after(5.0, device.finish)


def two_events(world: "World", draws: random.Random) -> None:
    """Users are removed and added while the chat service answers slowly, as of before, or does not."""
    fault = draws.choice((ChatFault.SLOW, ChatFault.SLOW, ChatFault.FAILS, ChatFault.UNAVAILABLE, ChatFault.HANGS))
    world.chat.faults.begin(fault, "GetUserGroups", share=draws.choice((0.7, 1.0)), seconds=draws.uniform(0.05, 1.5))
    faults.during(world, faults.CHAT_FAILS, 2.0, world.chat.faults.end)
    for _ in range(3):
        later(world, draws, 0.5, draws.choice((actions.remove, actions.add)), world, draws)
    world.scheduler.after(0.6, talk, world, draws, 3)


def event_is_lost(world: "World", draws: random.Random) -> None:
    """The chat service changes a membership, and its event is never published: gateways find out by asking."""
    if world.shape.platform or membership_seconds(world.shape) > LONGEST_BLINDNESS:
        return
    outbox = world.chat.publisher.outbox
    before = len(outbox)
    draws.choice((actions.remove, actions.add))(world, draws)
    if len(outbox) > before:
        outbox.pop()


def leave_and_join(world: "World", draws: random.Random) -> None:
    """Devices leave a group, and join again about when its feed closes."""
    group_id = draws.choice(world.groups)
    linger = dict(world.shape.settings).get("linger_seconds", 30.0)
    away = draws.choice((0.0, 0.05, min(linger, 6.0) + draws.uniform(-0.1, 0.1)))
    in_slow_motion(world, draws, away + 2)
    world.scheduler.after(max(0.0, away), out_of_step, world, draws, 0.5)
    for device in world.clients:
        if not device.is_over and group_id in world.groups_of(device.user_id) and draws.random() < 0.8:
            device.leave(group_id)
            world.scheduler.after(max(0.0, away + draws.uniform(0, 0.1)), device.join, group_id)
    for _ in range(3):
        later(world, draws, away + 1, actions.say, world, draws)
    if draws.random() < 0.3:
        later(world, draws, away + 3, actions.remove, world, draws)


SCENES = (one_batch, removed_while_subscribing, newcomer_is_removed, two_events, event_is_lost, leave_and_join)

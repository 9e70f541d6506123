"""Scenes of subscriptions that are made while Redis's answers and its messages, or the chat service, are late."""

import random
from typing import TYPE_CHECKING

from tests.simulation import faults
from tests.simulation.scenes.moments import (
    HELD,
    a_member,
    add,
    devices_in,
    in_slow_motion,
    later,
    membership_seconds,
    one_side_is_slow,
    remove,
    speak,
    the_chat_service_is_slow,
    toggle,
)

if TYPE_CHECKING:
    from tests.simulation.members import Member
    from tests.simulation.world import World

ASKED_AGAIN_SECONDS = 7.0
"""A gateway asks for a user's groups again because of a refusal, but not within five seconds."""


def subscribed_out_of_step(world: "World", draws: random.Random) -> None:
    """Devices connect, join and leave, perhaps as their user is removed, while one side of Redis is slow."""
    chosen, seconds = a_member(world, draws), draws.uniform(1, 4)
    if chosen is None:
        return
    group_id, user_id = chosen
    one_side_is_slow(world, draws, seconds)
    if draws.random() < 0.5:
        the_chat_service_is_slow(world, draws, seconds)
    for device in devices_in(world, group_id):
        if device.user_id == user_id or draws.random() < 0.5:
            _subscribe_again(world, draws, device, group_id)
    speak(world, draws, group_id, draws.choice((0, 1, 3)))
    if draws.random() < 0.7:
        later(world, draws, draws.choice((0.3, seconds)), toggle, world, group_id, user_id)
    for _ in range(draws.choice((1, 8))):
        later(world, draws, seconds, speak, world, draws, group_id, 1)


def _subscribe_again(world: "World", draws: random.Random, device: "Member", group_id: str) -> None:
    """Let a device connect or join again, in one of several ways."""
    what, linger = draws.random(), min(dict(world.shape.settings).get("linger_seconds", 30.0), 5.0)
    if what < 0.4:
        device.reset()
        return
    device.leave(group_id)
    away = draws.choice((0.01, 0.3, linger + draws.uniform(-0.3, 0.1)))
    world.scheduler.after(away, device.join, group_id)
    if what < 0.7:
        world.scheduler.after(away + draws.choice((0.01, 0.2)), device.leave, group_id)


def one_user_changes(world: "World", draws: random.Random) -> None:
    """One user is removed from chat groups and added to them, some times within seconds; then a message in each."""
    user_id = draws.choice(world.users)
    groups = [one for one in world.groups if world.chat.store.groups[one].owner_id != user_id]
    seconds = draws.choice((1.0, 5.0))
    if draws.random() < 0.5:
        one_side_is_slow(world, draws, seconds)
    elif draws.random() < 0.5:
        in_slow_motion(world, draws, seconds)
    for group_id in groups:
        for _ in range(draws.choice((1, 2))):
            later(world, draws, seconds, toggle, world, group_id, user_id)
        world.scheduler.after(seconds + 0.5, speak, world, draws, group_id, 1)


def removal_is_reverted(world: "World", draws: random.Random) -> None:
    """A user is removed and added again before a relay sees either; messages follow before a gateway has asked."""
    chosen, seconds = a_member(world, draws), draws.choice((0.0, 2.5))
    if chosen is None:
        return
    group_id, user_id = chosen
    the_chat_service_is_slow(world, draws, seconds + 2)
    if seconds:
        for slot in world.relays:
            slot.pause()
            faults.during(world, HELD, seconds, slot.go_on)
    remove(world, group_id, user_id)
    world.scheduler.after(0.01, add, world, group_id, user_id)
    for _ in range(4):
        later(world, draws, seconds + 1, speak, world, draws, group_id, 1)


def group_is_new(world: "World", draws: random.Random) -> None:
    """Users get a chat group that no gateway receives yet, and one of them is removed from it at once."""
    owner_id, *others = draws.sample(world.users, 2)
    one_side_is_slow(world, draws, 3.0)
    group_id = world.chat.create(owner_id)
    world.groups.append(group_id)
    for user_id in others:
        add(world, group_id, user_id)
        later(world, draws, draws.choice((0.1, 1.0)), remove, world, group_id, user_id)
        if draws.random() < 0.5:
            world.add_device(user_id)
    for _ in range(3):
        later(world, draws, 3, speak, world, draws, group_id, 1)


def removed_where_nobody_receives(world: "World", draws: random.Random) -> None:
    """Devices of a user leave a chat group, the user is removed from it, and other devices of the user connect."""
    chosen = a_member(world, draws)
    if chosen is None:
        return
    group_id, user_id = chosen
    for device in devices_in(world, group_id):
        if device.user_id == user_id:
            device.leave(group_id)
    linger = min(dict(world.shape.settings).get("linger_seconds", 30.0), 5.0)
    world.scheduler.after(linger + 0.5, remove, world, group_id, user_id)
    for number in range(3):
        world.scheduler.after(linger + 2 + number, _visit, world, user_id)
    world.scheduler.after(linger + 6, speak, world, draws, group_id, 1)


def _visit(world: "World", user_id: int) -> None:
    device = world.add_device(user_id)
    world.scheduler.after(4.0, device.finish)


def refused_without_an_event(world: "World", draws: random.Random) -> None:
    """A removal's event is lost, and the devices of its user send to the chat group: the gateways ask."""
    chosen = a_member(world, draws)
    if chosen is None or world.shape.platform or membership_seconds(world.shape) < 60:
        return
    group_id, user_id = chosen
    outbox = world.chat.publisher.outbox
    before = len(outbox)
    remove(world, group_id, user_id)
    if len(outbox) > before:
        outbox.pop()
    for seconds in (0.5, ASKED_AGAIN_SECONDS):
        world.scheduler.after(seconds, _send_to, world, user_id, group_id)


def _send_to(world: "World", user_id: int, group_id: str) -> None:
    for device in world.clients:
        if device.user_id == user_id and not device.is_over:
            device.send(group_id, world.text())


SCENES = (
    subscribed_out_of_step, one_user_changes, removal_is_reverted, group_is_new, removed_where_nobody_receives,
    refused_without_an_event,
)  # fmt: skip

"""Scenes of subscriptions that are made while Redis's answers and its messages, or the chat service, are late."""

import random
from typing import TYPE_CHECKING

from tests.simulation import actions, faults
from tests.simulation.chat_service.faults import Fault as ChatFault
from tests.simulation.scenes.moments import (
    HALF_TOLD_SECONDS,
    HELD,
    a_member,
    add,
    all_in_one_turn,
    devices_in,
    half_told,
    in_slow_motion,
    later,
    membership_seconds,
    new_group,
    one_side_is_slow,
    remove,
    slow_to_redis,
    speak,
    speak_in_each,
    the_chat_service_is_slow,
    toggle,
)

if TYPE_CHECKING:
    from tests.simulation.members import Member
    from tests.simulation.world import World

SUBSCRIBING_SECONDS, VISIT_SECONDS = 0.9, 6.0
LONGEST_LINGER = 6.0
ASKED_AGAIN_SECONDS = 7.0
"""A gateway asks for a user's groups again because of a refusal, but not within five seconds."""


def subscribed_out_of_step(world: "World", draws: random.Random) -> None:
    """Devices connect, join and leave while one side of Redis is slow, and perhaps their user is removed meanwhile."""
    chosen, seconds = a_member(world, draws), draws.uniform(1, 4)
    if chosen is None:
        return
    group_id, user_id = chosen
    delay = one_side_is_slow(world, draws, seconds)
    if draws.random() < 0.4:
        the_chat_service_is_slow(world, draws, seconds)
    devices = [one for one in devices_in(world, group_id) if one.user_id == user_id or draws.random() < 0.5]
    away = _subscribe_again(world, draws, devices, group_id)
    speak_in_each(world, draws, user_id)
    if draws.random() < 0.7:
        world.scheduler.after(
            away + draws.uniform(0, draws.choice((3, 10)) * delay + 0.1), toggle, world, group_id, user_id
        )
    for _ in range(draws.choice((0, 1, 8))):
        world.scheduler.after(away + draws.uniform(0, seconds), speak, world, draws, group_id, 1)


def _subscribe_again(world: "World", draws: random.Random, devices: "list[Member]", group_id: str) -> float:
    """Let devices connect or join again, in one of several ways; return after how many seconds they do."""
    what, linger = draws.random(), dict(world.shape.settings).get("linger_seconds", 6.0)
    if what < 0.4:
        for device in devices:
            device.reset()
        return 0.1
    away = draws.choice((0.01, 0.3, linger + draws.uniform(-0.3, 0.1)))
    for device in devices:
        device.leave(group_id)
        world.scheduler.after(away, device.join, group_id)
        if what < 0.7:
            world.scheduler.after(away + draws.choice((0.01, 0.2)), device.leave, group_id)
    return away


def subscribed_in_one_turn(world: "World", draws: random.Random) -> None:
    """Devices join again, or connect, in the moment in which a message of the chat group arrives."""
    group_id, seconds = draws.choice(world.groups), draws.uniform(0.1, 0.4)
    devices = devices_in(world, group_id)
    joining = draws.sample(devices, len(devices) // 2)
    for device in joining:
        device.leave(group_id)
    world.scheduler.after(0.3, all_in_one_turn, world, draws, joining, seconds)
    for device in joining:
        world.scheduler.after(0.31, device.join, group_id)
    world.scheduler.after(0.3, speak, world, draws, group_id, draws.choice((1, 2)))
    for _ in range(3):
        later(world, draws, 0.6, _visit, world, draws.choice(world.users), 2.0)
        for _ in range(4):
            later(world, draws, 0.7, speak, world, draws, group_id, 1)


def one_user_changes(world: "World", draws: random.Random) -> None:
    """One user is removed from chat groups and added to them, some times within seconds; then a message in each."""
    user_id = draws.choice(world.users)
    groups = [one for one in world.groups if world.chat.store.groups[one].owner_id != user_id]
    if len(groups) < 2:
        groups.append(new_group(world, draws, user_id))
    seconds = draws.choice((0.3, 1.0, 4.0))
    if draws.random() < 0.5:
        one_side_is_slow(world, draws, seconds + 2)
    elif draws.random() < 0.5:
        in_slow_motion(world, draws, seconds + 2)
    how = draws.choice(("added", "changed", "removed and added"))
    for group_id in groups:
        if how == "added":
            remove(world, group_id, user_id)
            world.scheduler.after(2 + draws.uniform(0, seconds), add, world, group_id, user_id)
        elif how == "changed" or group_id != groups[0]:
            for _ in range(draws.choice((1, 2))):
                world.scheduler.after(2 + draws.uniform(0, seconds), toggle, world, group_id, user_id)
        else:
            world.scheduler.after(2.0, remove_and_add, world, draws, group_id, user_id)
            world.scheduler.after(2.1, speak, world, draws, group_id, 2)
            for device in devices_in(world, group_id):
                later(world, draws, seconds + 2.5, device.leave, groups[-1])
        world.scheduler.after(seconds + 2.5, speak, world, draws, group_id, 1)


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
    speak(world, draws, group_id, draws.choice((0, 1, 2)))
    world.scheduler.after(0.1, remove_and_add, world, draws, group_id, user_id)
    for _ in range(4):
        later(world, draws, seconds + 1, speak, world, draws, group_id, 1)


def remove_and_add(world: "World", draws: random.Random, group_id: str, user_id: int) -> None:
    """Remove a user, and add it again at once."""
    remove(world, group_id, user_id)
    world.scheduler.after(draws.choice((0.001, 0.1)), add, world, group_id, user_id)


def removal_overtakes_an_answer(world: "World", draws: random.Random) -> None:
    """A user is removed while the chat service answers, as of before, because of another removal; devices connect."""
    chosen = a_member(world, draws)
    if chosen is None:
        return
    group_id, user_id = chosen
    other = new_group(world, draws, user_id)
    add(world, other, user_id)
    world.scheduler.after(2.0, _answers_take_a_second, world)
    world.scheduler.after(2.0, remove, world, other, user_id)
    world.scheduler.after(2.0 + draws.uniform(0.3, 0.7), remove, world, group_id, user_id)
    for _ in range(2):
        world.scheduler.after(2.0 + draws.uniform(0.7, 1.0), _look_in, world, user_id)
    for _ in range(8):
        world.scheduler.after(2.0 + draws.uniform(1.0, 2.4), speak, world, draws, group_id, 1)


def _answers_take_a_second(world: "World") -> None:
    world.chat.faults.begin(ChatFault.SLOW, "GetUserGroups", seconds=1.0)
    faults.during(world, faults.CHAT_FAILS, 4.0, world.chat.faults.end)


def group_is_new(world: "World", draws: random.Random) -> None:
    """Users get a chat group that no gateway receives yet, and are removed from it, or leave it, at once."""
    group_id = new_group(world, draws)
    owner_id = world.chat.store.groups[group_id].owner_id
    delay = one_side_is_slow(world, draws, 2.0)
    for user_id in world.users:
        if user_id != owner_id:
            add(world, group_id, user_id)
            if draws.random() < 0.6:
                later(world, draws, 3 * delay + 0.1, remove, world, group_id, user_id)
    if draws.random() < 0.5:
        _visit(world, draws.choice(world.users), 4.0)
    for device in devices_in(world, group_id):
        if draws.random() < 0.2:
            later(world, draws, 3 * delay + 0.1, device.leave, group_id)
    for _ in range(draws.choice((0, 1, 1, 6))):
        later(world, draws, 3 * delay + 0.1, speak, world, draws, group_id, 1)


def newcomer_is_removed_unheard(world: "World", draws: random.Random) -> None:
    """A new user connects where nobody receives its chat group, and is removed before the gateway does.

    The user's own feed has the removal later than the group's.
    """
    user_id = world.new_user()
    group_id = new_group(world, draws, user_id)
    add(world, group_id, user_id)
    for gateway in world.live_gateways:
        slow_to_redis(world, world.redis.subscriptions_of(gateway.process.name), SUBSCRIBING_SECONDS, 4.0)
    world.scheduler.after(1.0, _look_in, world, user_id)
    asked = 1.0 + SUBSCRIBING_SECONDS  # when it receives the user's feed, the gateway asks which chat groups there are
    world.scheduler.after(
        asked + draws.uniform(0.0, 0.3), _remove_by_halves, world, draws, group_id, user_id, SUBSCRIBING_SECONDS
    )


def _remove_by_halves(
    world: "World", draws: random.Random, group_id: str, user_id: int, seconds: float, visits: int = 0
) -> None:
    """Remove a user, of which its own feed is not told before some messages, from so many ``seconds`` on.

    Other devices of the user connect in between.
    """

    def go_on() -> None:
        for _ in range(visits):
            later(world, draws, 0.5, _look_in, world, user_id)
        for _ in range(6):
            world.scheduler.after(draws.uniform(seconds * 0.7, HALF_TOLD_SECONDS), speak, world, draws, group_id, 1)

    faults.slow_down(world, 0.004, 0.02, 3.0)
    remove(world, group_id, user_id)
    half_told(world, group_id, user_id, go_on, world.scheduler.now + 3.0)


def message_before_redis_subscribes(world: "World", draws: random.Random) -> None:
    """A new user's device is told that it is subscribed; Redis is later, and a message comes in between.

    Only channels_redis's own layer does that, and no later message helps.
    """
    user_id = world.new_user()
    group_id = new_group(world, draws, user_id)
    add(world, group_id, user_id)
    for gateway in world.live_gateways:
        slow_to_redis(world, world.redis.subscriptions_of(gateway.process.name), 0.2, 4.0)
    world.scheduler.after(1.0, world.begin_device, user_id)
    world.scheduler.after(1.0 + draws.uniform(0, 0.3), speak, world, draws, group_id, 1)


def added_while_nobody_answers(world: "World", draws: random.Random) -> None:
    """The chat service fails while gateways ask because of an addition; then nothing that could help."""
    group_id = new_group(world, draws)
    fault = draws.choice((ChatFault.FAILS, ChatFault.UNAVAILABLE, ChatFault.OVERLOADED, ChatFault.HANGS))
    world.chat.faults.begin(fault, "GetUserGroups")
    faults.during(world, faults.CHAT_FAILS, draws.choice((1.0, 8.0)), world.chat.faults.end)
    for user_id in world.users:
        if draws.random() < 0.7:
            later(world, draws, 0.5, add, world, group_id, user_id)


def joins_before_the_user_is_told(world: "World", draws: random.Random) -> None:
    """A user is removed from a chat group that its gateway no longer receives, and another of its devices connects.

    That is after the removal is in the group's feed, and before it is in the user's.
    """
    chosen, gateways = a_member(world, draws), world.live_gateways
    linger = dict(world.shape.settings).get("linger_seconds", 30.0)
    if chosen is None or not gateways or linger > LONGEST_LINGER:
        return
    group_id, user_id = chosen
    gateway = draws.choice(gateways)
    for device in devices_in(world, group_id):
        if device.connection_id in gateway.node.connections:
            device.leave(group_id)
    world.scheduler.after(linger + 1.0, _remove_by_halves, world, draws, group_id, user_id, 0.2, 3)


def removed_where_nobody_receives(world: "World", draws: random.Random) -> None:
    """Devices leave a chat group, a user is removed from it, and other devices of the user connect."""
    chosen = a_member(world, draws)
    if chosen is None:
        return
    group_id, user_id = chosen
    everybody = draws.random() < 0.5
    for device in devices_in(world, group_id):
        if everybody or device.user_id == user_id:
            device.leave(group_id)
    linger = dict(world.shape.settings).get("linger_seconds", 30.0)
    world.scheduler.after(linger + 0.5, remove, world, group_id, user_id)
    for seconds in (1.5, 2.0):
        world.scheduler.after(linger + seconds, _visit, world, user_id, 4.0)
    world.scheduler.after(linger + 4, speak, world, draws, group_id, 1)


def _visit(world: "World", user_id: int, seconds: float) -> None:
    """A device of a user connects, and stays for so long; for ever if there are few devices."""
    many = sum(not device.is_over for device in world.clients) >= actions.MAX_DEVICES
    device = world.add_device(user_id)
    if many:
        world.scheduler.after(seconds, device.finish)


def _look_in(world: "World", user_id: int) -> None:
    world.scheduler.after(VISIT_SECONDS, world.add_device(user_id).finish)


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
    subscribed_out_of_step, subscribed_in_one_turn, one_user_changes, removal_is_reverted,
    removal_overtakes_an_answer, group_is_new,
    message_before_redis_subscribes, newcomer_is_removed_unheard, added_while_nobody_answers,
    joins_before_the_user_is_told, removed_where_nobody_receives, refused_without_an_event,
)  # fmt: skip

"""Scenes of senders: those that give up, and those that say the same at once."""

import random
from typing import TYPE_CHECKING

from chatws.events.routes import MESSAGE_NEW
from tests.simulation import actions, faults
from tests.simulation.chat_service.faults import Fault as ChatFault
from tests.simulation.scenes.moments import PARTLY_REFUSED, in_slow_motion, later

if TYPE_CHECKING:
    from tests.simulation.members import Member
    from tests.simulation.world import World

AMBIGUOUS = (
    ChatFault.COMMITS_AND_HANGS, ChatFault.COMMITS_LATE, ChatFault.COMMITS_LATE, ChatFault.SLOW, ChatFault.HANGS,
)  # fmt: skip
UNHELPFUL = (ChatFault.FAILS, ChatFault.HANGS, ChatFault.OVERLOADED, ChatFault.UNAVAILABLE)


def sender_gives_up(world: "World", draws: random.Random) -> None:
    """A device sends, its gateway or the chat service fails in between, and the device never comes back."""
    device = world.add_device(draws.choice(world.users))
    world.scheduler.after(1.0, _send_and_go, world, draws, device)


def _send_and_go(world: "World", draws: random.Random, device: "Member") -> None:
    groups = sorted(world.groups_of(device.user_id))
    if groups and device.is_online:
        _chat_fails_for_a_while(world, draws)
        for group_id in draws.choices(groups, k=draws.randint(1, 3)):
            device.send(group_id, world.text())
        if draws.random() < 0.7:
            in_slow_motion(world, draws, 1)
            what = (faults.gateway_is_killed, faults.gateway_is_killed, faults.answers_are_lost, _scripts_are_refused)
            for _ in range(draws.randint(1, 2)):
                later(world, draws, draws.choice((0.3, 0.3, 6.0)), draws.choice(what), world, draws)
    world.scheduler.after(draws.choice((0.5, 3.0, 12.0)) * draws.random(), device.vanish)


def _chat_fails_for_a_while(world: "World", draws: random.Random) -> None:
    """Storing has an unknown result, and perhaps nothing is refused or answered clearly for some time afterwards."""
    if draws.random() < 0.7:
        seconds = draws.choice((1.0, 5.0, 12.0)) * draws.uniform(0.5, 1.0)
        world.chat.faults.begin(draws.choice(AMBIGUOUS), "SaveMessage", seconds=seconds)
        faults.during(world, faults.CHAT_FAILS, draws.uniform(0.2, 3), world.chat.faults.end)
    if draws.random() < 0.6:
        world.scheduler.after(3.5, _chat_is_unhelpful, world, draws)


def _chat_is_unhelpful(world: "World", draws: random.Random) -> None:
    world.chat.faults.begin(draws.choice(UNHELPFUL), *draws.choice(((), ("GetMessageHistory",), ("SaveMessage",))))
    faults.during(world, faults.CHAT_FAILS, draws.uniform(1, 8), world.chat.faults.end)


def _scripts_are_refused(world: "World", draws: random.Random) -> None:
    seconds = draws.uniform(0, 2)
    world.redis.server.errors("OOM", seconds, which=frozenset({"evalsha"}))
    faults.during(world, PARTLY_REFUSED, seconds)


def gateway_dies_behind_storing(world: "World", draws: random.Random) -> None:
    """A message is stored, its gateway dies before it knows that, and its sender never comes back."""
    device = world.add_device(draws.choice(world.users))
    world.scheduler.after(1.0, _send_and_die, world, draws, device)


def _send_and_die(world: "World", draws: random.Random, device: "Member") -> None:
    groups = sorted(world.groups_of(device.user_id))
    if groups and device.is_online:
        fault = draws.choice((ChatFault.SLOW, ChatFault.COMMITS_AND_HANGS, ChatFault.COMMITS_LATE))
        world.chat.faults.begin(fault, "SaveMessage", seconds=draws.choice((1.5, 6.0)))
        faults.during(world, faults.CHAT_FAILS, 1.0, world.chat.faults.end)
        for group_id in draws.choices(groups, k=2):
            device.send(group_id, world.text())
    world.scheduler.after(draws.uniform(0.3, 0.9), _both_die, world, draws, device)
    if draws.random() < 0.5:
        world.scheduler.after(3.5, _chat_is_unhelpful, world, draws)


def _both_die(world: "World", draws: random.Random, device: "Member") -> None:
    device.vanish()
    for slot in world.gateways:
        if slot.running is not None and device.connection_id in slot.running.node.connections:
            slot.kill()
            faults.during(world, faults.GATEWAY_KILLED, draws.choice((0.5, 8.0)), slot.start)


def sent_again_late(world: "World", draws: random.Random) -> None:
    """A device sends, and its connection and its answers break again and again: it repeats for some time."""
    device = actions.a_device(world, draws)
    groups = sorted(world.groups_of(device.user_id)) if device else []
    if device is None or not groups:
        return
    _chat_fails_for_a_while(world, draws)
    for group_id in draws.choices(groups, k=3):
        device.send(group_id, world.text())
    for _ in range(draws.randint(1, 4)):
        later(world, draws, 6, device.reset)
    later(world, draws, 3, draws.choice((faults.answers_are_lost, faults.links_are_cut, actions.say)), world, draws)


def publication_is_not_confirmed(world: "World", draws: random.Random) -> None:
    """A message is added to its stream, and its gateway doesn't get the answer: it tries again."""
    if not world.shape.platform or not world.redis.is_up:
        return
    faults.slow_down(world, 0.004, 0.02, 1.0)
    for _ in range(3):
        later(world, draws, 0.2, actions.say, world, draws)
    _cut_when_added(world, world.redis.command("XLEN", MESSAGE_NEW), world.scheduler.now + 1.0)


def _cut_when_added(world: "World", before: int, until: float) -> None:
    if world.redis.command("XLEN", MESSAGE_NEW) > before:
        for gateway in world.live_gateways:
            for link in world.redis.commands_of(gateway.process.name):
                if link.back.in_flight:
                    link.back.drops = True
                    link.reset()
        faults.during(world, faults.ANSWERS_LOST, 0.1)
    elif world.scheduler.now < until:
        world.scheduler.after(0.001, _cut_when_added, world, before, until)


def the_same_is_said_at_once(world: "World", draws: random.Random) -> None:
    """Two devices of a user, or one, send the same text at the same moment, perhaps more than once."""
    user_id = draws.choice(world.users)
    devices = [device for device in world.clients if device.user_id == user_id and not device.is_over]
    if len(devices) < 2:
        devices.append(world.add_device(user_id))
    groups, text = sorted(world.groups_of(user_id)), world.text()
    for _ in range(2):
        for device in devices:
            if groups:
                world.scheduler.after(1.0, device.send, groups[0], text)


SCENES = (
    gateway_dies_behind_storing,
    sender_gives_up,
    sent_again_late,
    publication_is_not_confirmed,
    the_same_is_said_at_once,
)
PLATFORM = (gateway_dies_behind_storing, sender_gives_up, sent_again_late, publication_is_not_confirmed)
"""Those that show the most where the gateways publish."""

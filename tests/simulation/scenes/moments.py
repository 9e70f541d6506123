"""What scenes are made of: slow motion, connections that are out of step or lose something, messages in one group."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.simulation import actions, faults
from tests.simulation.chat_service.faults import Fault as ChatFault
from tests.support.ledger import Kind

if TYPE_CHECKING:
    from tests.simulation.members import Member
    from tests.simulation.network import Link, Pipe
    from tests.simulation.plan import Shape
    from tests.simulation.world import World

Scene = Callable[["World", random.Random], None]

LONGEST_BLINDNESS = 20.0
"""Seconds within which a gateway asks for a membership by itself, in the worlds in which events are lost."""

HALF_TOLD_SECONDS = 2.0
HELD = Kind("a relay was held", budget=faults.TAKEOVER_SECONDS)
PARTLY_REFUSED = Kind("Redis refused some commands")
DROPPED = Kind("a device read nothing", budget=70.0, connect=70.0)


def in_slow_motion(world: "World", draws: random.Random, seconds: float) -> None:
    """Let everything on the network take longer for a while, so that more can happen in between."""
    latency = draws.choice((0.0005, 0.01, 0.05))
    faults.slow_down(world, latency, 4 * latency, seconds)


def out_of_step(world: "World", draws: random.Random, seconds: float) -> None:
    """Keep back what some connections of each gateway carry, and let it all arrive at once: late, and in one turn."""
    for gateway in world.live_gateways:
        links = world.network.of(gateway.process.name)
        held = [link for link in links if draws.random() < 0.4]
        for link in held:
            link.stall()
        faults.during(world, faults.STALLED, draws.uniform(0, seconds), partial(_release, held))


def _release(held: "Sequence[Link]") -> None:
    for link in held:
        link.go_on()


def one_side_is_slow(world: "World", draws: random.Random, seconds: float) -> float:
    """Let Redis's answers to gateways, or what their subscriptions bring, take longer than the other for a while.

    Return by how much.
    """
    slow = draws.choice((world.redis.commands_of, world.redis.subscriptions_of))
    delay = draws.choice((0.02, 0.1, 0.3, 0.8))
    links = [link for gateway in world.live_gateways if draws.random() < 0.8 for link in slow(gateway.process.name)]
    pipes = [pipe for link in links for pipe in draws.choice(((link.out,), (link.back,), (link.out, link.back)))]
    _delay(pipes, delay)
    faults.during(world, faults.SLOW, seconds, partial(_delay, pipes, 0.0))
    return delay


def _delay(pipes: "Sequence[Pipe]", seconds: float) -> None:
    for pipe in pipes:
        pipe.delay = seconds


def slow_to_redis(world: "World", links: "Sequence[Link]", delay: float, seconds: float) -> None:
    """Let what is sent over these links take longer for a while."""
    pipes = [link.out for link in links]
    _delay(pipes, delay)
    faults.during(world, faults.SLOW, seconds, partial(_delay, pipes, 0.0))


def go_back(world: "World", *, keeps_subscriptions: bool = False) -> None:
    """Redis loses what it wrote in the last one or two seconds, if it has written anything."""
    if world.redis.can_go_back:
        world.lost.of(lambda: world.redis.go_back(keeps_subscriptions=keeps_subscriptions))
        faults.during(world, faults.WENT_BACK, 0.5)


def hints_are_lost(world: "World", draws: random.Random, seconds: float, share: float = 0.8) -> None:
    """Lose what the subscriptions of some gateways bring, until they are reset."""
    for gateway in world.live_gateways:
        if draws.random() < share:
            for link in world.redis.subscriptions_of(gateway.process.name):
                link.back.drops = True
                world.scheduler.after(seconds, link.reset)
    faults.during(world, faults.ANSWERS_LOST, seconds + 0.1)


def all_in_one_turn(world: "World", draws: random.Random, devices: "Sequence[Member]", seconds: float) -> None:
    """Keep back what subscriptions and these devices carry, and let it all arrive within some turns of the loops."""
    held = [link for gateway in world.live_gateways for link in world.redis.subscriptions_of(gateway.process.name)]
    held += [device.socket.link for device in devices if device.socket is not None]
    for link in held:
        link.stall()
        turns = draws.randint(0, 12) * max(world.shape.turn_seconds, 0.0001)
        faults.during(world, faults.STALLED, seconds + turns, link.go_on)


def half_told(world: "World", group_id: str, user_id: int, then: Callable[[], None], until: float) -> None:
    """Call ``then`` as soon as a removal is in the chat group's feed, and keep it out of the user's for a while.

    A relay writes to the user's feed when it has the answer about the group's: that is held back.
    """
    change = f'"user_id":{user_id},"change":"removed"'.encode()
    ends: Any = world.redis.command("LINDEX", f"chatws:{{group:{group_id}}}:log", "-1") if world.redis.is_up else None
    if isinstance(ends, bytes) and change in ends:
        for relay in world.live_relays:
            for link in world.redis.commands_of(relay.process.name):
                if link.back.in_flight:
                    link.stall()
                    faults.during(world, faults.STALLED, HALF_TOLD_SECONDS, link.go_on)
        then()
    elif world.scheduler.now < until:
        world.scheduler.after(0.002, half_told, world, group_id, user_id, then, until)


def the_chat_service_is_slow(world: "World", draws: random.Random, seconds: float, longest: float = 1.5) -> None:
    """Let the chat service answer as of before, late, when it is asked for a user's groups."""
    world.chat.faults.begin(ChatFault.SLOW, "GetUserGroups", share=0.7, seconds=draws.uniform(0.05, longest))
    faults.during(world, faults.CHAT_FAILS, seconds, world.chat.faults.end)


def devices_in(world: "World", group_id: str) -> "list[Member]":
    """Return the devices in use of a chat group's members."""
    members = world.chat.store.groups[group_id].members
    return [device for device in world.clients if not device.is_over and device.user_id in members]


def speak(world: "World", draws: random.Random, group_id: str, count: int) -> None:
    """A device sends so many messages to one chat group, in a row."""
    if devices := devices_in(world, group_id):
        device = draws.choice(devices)
        for _ in range(count):
            device.send(group_id, world.text())


def speak_in_each(world: "World", draws: random.Random, user_id: int) -> None:
    """Devices send a message to each chat group of a user."""
    for group_id in sorted(world.groups_of(user_id)):
        speak(world, draws, group_id, 1)


def a_member(world: "World", draws: random.Random) -> tuple[str, int] | None:
    """Return a chat group and a member of it who may be removed, with a device if possible; None without any."""
    groups = world.chat.store.groups
    members = [
        (group_id, user_id)
        for group_id in world.groups
        for user_id in sorted(groups[group_id].members)
        if user_id != groups[group_id].owner_id
    ]
    in_use = {device.user_id for device in world.clients if not device.is_over}
    online = [(group_id, user_id) for group_id, user_id in members if user_id in in_use]
    return draws.choice(online or members) if members else None


def new_group(world: "World", draws: random.Random, user_id: int = 0) -> str:
    """Return a new chat group, which another user than this one owns: nobody else is in it."""
    group_id = world.chat.create(draws.choice([one for one in world.users if one != user_id]))
    world.groups.append(group_id)
    return group_id


def remove(world: "World", group_id: str, user_id: int) -> None:
    """Remove a user from a chat group, unless that is so."""
    if user_id in world.chat.store.groups[group_id].members:
        actions._change(world, group_id, user_id, is_in=False)


def add(world: "World", group_id: str, user_id: int) -> None:
    """Add a user to a chat group, unless that is so."""
    if user_id not in world.chat.store.groups[group_id].members:
        actions._change(world, group_id, user_id, is_in=True)


def toggle(world: "World", group_id: str, user_id: int) -> None:
    """Remove a user from a chat group, or add it."""
    (remove if user_id in world.chat.store.groups[group_id].members else add)(world, group_id, user_id)


def talk(world: "World", draws: random.Random, count: int) -> None:
    """Some devices send a message."""
    for _ in range(count):
        actions.say(world, draws)


def later(world: "World", draws: random.Random, seconds: float, what: Callable[..., Any], *args: Any) -> None:
    """Do something within so many seconds."""
    world.scheduler.after(draws.uniform(0, seconds), what, *args)


def membership_seconds(shape: "Shape") -> float:
    """Return after how many seconds a gateway asks for a membership by itself."""
    return dict(shape.settings).get("membership_seconds", 300.0)

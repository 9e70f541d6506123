"""Scenes: steps that random worlds seldom put into one moment. Each is what some defect of delivery needs to show.

A world of scenes is short and has little else in it, so that no later event heals what a defect has broken.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from chatws.events import routes
from tests.simulation import actions, faults
from tests.simulation.chat_service.faults import Fault as ChatFault
from tests.simulation.plan import BEGIN_SECONDS, SETTINGS, Plan, Shape, Step
from tests.support.ledger import Kind

if TYPE_CHECKING:
    from tests.simulation.network import Link
    from tests.simulation.world import World

Scene = Callable[["World", random.Random], None]
COUNT, SMALL_SHARE = 8, 0.4
"""How many scenes a world has, and how often each setting is small in it."""
LONGEST_BLINDNESS = 20.0
"""Seconds within which a gateway asks for a membership by itself, in the worlds in which events are lost."""

HELD = Kind("a relay was held", budget=faults.TAKEOVER_SECONDS)
PARTLY_REFUSED = Kind("Redis refused some commands")
DROPPED = Kind("a device read nothing", budget=70.0, connect=70.0)


def plan_of_scenes(seed: int) -> Plan:
    """Return the plan of a world of scenes."""
    draws = random.Random(f"{seed}:scenes")
    shape = Shape(
        gateways=draws.choice((1, 2, 3)), relays=draws.choice((1, 2)), users=draws.randint(2, 4),
        groups=draws.randint(1, 3), platform=draws.random() < 0.3, frames=draws.random() < 0.5,
        shuffled=draws.random() < 0.5, everysec=draws.random() < 0.3,
        settings=tuple(
            (name, draws.choice(values)) for name, values in SETTINGS.items() if draws.random() < SMALL_SHARE
        ),
    )  # fmt: skip
    some = draws.sample(list(SCENES), draws.choice((1, 2, 3)))
    steps, at = [], BEGIN_SECONDS
    for _ in range(COUNT):
        steps.append(Step(at, draws.choice(some), 0))
        at += draws.choice((1.0, 4.0, 12.0)) * draws.uniform(0.5, 1.0)
    chat_every = draws.choice((0.5, 3.0))
    while (spoken := BEGIN_SECONDS + draws.expovariate(1 / chat_every)) < at:
        steps.append(Step(spoken + draws.uniform(0, at - BEGIN_SECONDS), "say", 0))
        if len(steps) > 40:
            break
    numbered = sorted((step for step in steps if step.at < at), key=lambda step: step.at)
    end = at + LONGEST_BLINDNESS if "event_is_lost" in some else at
    return Plan(seed, shape, tuple(replace(step, number=n) for n, step in enumerate(numbered)), (end,))


def _membership_seconds(shape: Shape) -> float:
    return dict(shape.settings).get("membership_seconds", 300.0)


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


def talk(world: "World", draws: random.Random, count: int) -> None:
    """Some devices send a message."""
    for _ in range(count):
        actions.say(world, draws)


def later(world: "World", draws: random.Random, seconds: float, what: Callable[..., Any], *args: Any) -> None:
    """Do something within so many seconds."""
    world.scheduler.after(draws.uniform(0, seconds), what, *args)


# Members


def one_batch(world: "World", draws: random.Random) -> None:
    """Messages, a removal, an addition and more messages reach the relays while they are held: they come together."""
    for slot in world.relays:
        slot.pause()
        faults.during(world, HELD, 0.6, slot.go_on)
    talk(world, draws, 3)
    for what in (actions.remove, actions.say, actions.say, actions.add, actions.say):
        later(world, draws, 0.5, what, world, draws)


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
    """A user is removed from a group and added to another while the chat service answers slowly, as of before."""
    world.chat.faults.begin(ChatFault.SLOW, "GetUserGroups", share=0.7, seconds=draws.uniform(0.05, 1.5))
    faults.during(world, faults.CHAT_FAILS, 2.0, world.chat.faults.end)
    for _ in range(3):
        later(world, draws, 0.5, draws.choice((actions.remove, actions.add)), world, draws)
    world.scheduler.after(0.6, talk, world, draws, 3)


def event_is_lost(world: "World", draws: random.Random) -> None:
    """The chat service changes a membership, and its event is never published: gateways find out by asking."""
    if world.shape.platform or _membership_seconds(world.shape) > LONGEST_BLINDNESS:
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


# Redis


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


# The relay


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
    entries: Any = world.redis.model.dump().get(routes.MESSAGE_NEW.encode(), ())
    words = [fields for _, fields in entries][-3:]
    if not words:
        return
    again = draws.choice(words)
    for seconds in (draws.uniform(0, 0.01), draws.uniform(0, min(12.0, world.id_seconds * 0.8))):
        world.scheduler.after(seconds, world.publish_again, again)
    talk(world, draws, 2)


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


# Devices


def reader_stops(world: "World", draws: random.Random) -> None:
    """A device reads nothing while much is said, and then reads on."""
    device = actions.a_device(world, draws)
    if device is None or device.socket is None:
        return
    link, cause = device.socket.link, world.ledger.causes.begin(DROPPED, readers=[device.reader.name])
    link.back.hold()

    def read_on() -> None:
        link.back.release()
        world.ledger.causes.end(cause)

    world.scheduler.after(draws.uniform(2, 8), read_on)
    for _ in range(30):  # more than the buffers of the sockets hold
        later(world, draws, 1.5, _say_much, world, draws)


def _say_much(world: "World", draws: random.Random) -> None:
    speaker = actions.a_device(world, draws)
    groups = sorted(world.groups_of(speaker.user_id)) if speaker else []
    if speaker and groups:
        speaker.send(draws.choice(groups), world.text() + " " + "x" * draws.choice((10, 4_900, 4_900)))


def many_flashes(world: "World", draws: random.Random) -> None:
    """Devices come and go within moments, while answers about them are lost or a gateway is paused."""
    for _ in range(3):
        later(world, draws, 1.0, actions.flash, world, draws)
    what = draws.choice(
        (faults.answers_are_lost, faults.gateway_is_paused, faults.gateway_is_killed, faults.redis_pauses)
    )
    later(world, draws, 1.0, what, world, draws)


def retried_in_order(world: "World", draws: random.Random) -> None:
    """A device sends some messages in a row, and the chat service refuses or forgets to answer some of them."""
    what = (ChatFault.OVERLOADED, ChatFault.COMMITS_AND_FAILS, ChatFault.COMMITS_AND_HANGS, ChatFault.UNAVAILABLE)
    world.chat.faults.begin(draws.choice(what), "SaveMessage", share=0.5)
    faults.during(world, faults.CHAT_FAILS, draws.uniform(0.2, 3), world.chat.faults.end)
    device = actions.a_device(world, draws)
    groups = sorted(world.groups_of(device.user_id)) if device else []
    if device and groups:
        group_id, same = draws.choice(groups), world.text()
        for number in range(5):
            device.send(group_id, same if number < 2 and draws.random() < 0.5 else world.text())
        if draws.random() < 0.3:
            later(world, draws, 3.0, device.reset)


SCENES: dict[str, Scene] = {
    scene.__name__: scene
    for scene in (
        one_batch, removed_while_subscribing, newcomer_is_removed, two_events, event_is_lost, leave_and_join,
        quiet_after_a_cut, opened_in_a_cut, goes_back_under_traffic, partly_refused, refused_while_resuming,
        relay_stops_in_a_batch, event_comes_twice, trimmed_behind, reader_stops, many_flashes, retried_in_order,
    )
}  # fmt: skip

"""Scenes of devices: slow readers, short visits, messages in a row."""

import json
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.simulation import actions, faults
from tests.simulation.chat_service.faults import Fault as ChatFault
from tests.simulation.scenes.moments import DROPPED, later
from tests.support.ledger import Kind

if TYPE_CHECKING:
    from tests.simulation.network import Link
    from tests.simulation.sockets import Item
    from tests.simulation.world import World
    from tests.support.ledger import Cause


FRAME_LOST = Kind("a frame to a device was lost", skips=True)


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


def bursts_for_slow_readers(world: "World", draws: random.Random) -> None:
    """Devices read slowly or with pauses while messages come in bursts, so that each waits in parts."""
    for device in world.clients:
        if not device.is_over and device.socket is not None and draws.random() < 0.7:
            link, cause = device.socket.link, world.ledger.causes.begin(DROPPED, readers=[device.reader.name])
            if draws.random() < 0.5:
                link.back.bytes_per_second = draws.choice((500.0, 3_000.0, 20_000.0))
            else:
                link.back.hold()
            world.scheduler.after(draws.choice((0.1, 1.0, 6.0)) * draws.random(), _read_fast, world, link, cause)
    for _ in range(3):
        at = draws.uniform(0, 1.5)
        for _ in range(6):
            world.scheduler.after(at, actions.say, world, draws)
    if draws.random() < 0.3:
        later(world, draws, 2.0, actions.device_is_reset, world, draws)


def _read_fast(world: "World", link: "Link", cause: "Cause") -> None:
    link.back.bytes_per_second = 0.0
    link.back.release()
    world.ledger.causes.end(cause)


def frame_is_lost(world: "World", draws: random.Random) -> None:
    """A publication is lost between the server and a device, and the next one of its feed is not: a gap."""
    device = actions.a_device(world, draws)
    groups = sorted(world.groups_of(device.user_id)) if device else []
    if device is None or device.socket is None or not groups or world.shape.frames:
        return
    group_id, link = draws.choice(groups), device.socket.link
    cause = world.ledger.causes.begin(FRAME_LOST, readers=[device.reader.name])
    link.back.hold()
    for speaker in world.clients:
        if not speaker.is_over and group_id in world.groups_of(speaker.user_id):
            world.scheduler.after(draws.uniform(0, 0.5), speaker.send, group_id, world.text())
            world.scheduler.after(draws.uniform(0, 0.5), speaker.send, group_id, world.text())

    def lose_one() -> None:
        if size := link.back.lose(partial(_one_before_another, draws)):
            peer: Any = link.out.end
            peer.taken(size)
        link.back.release()

    world.scheduler.after(0.7, lose_one)
    world.scheduler.after(8.0, world.ledger.causes.end, cause)


def _one_before_another(draws: random.Random, items: "list[Item]") -> "Item | None":
    """Return a publication that is not the last one of its feed among these."""
    by_feed: dict[str, list[Item]] = {}
    for item in items:
        frame = json.loads(item[1]) if isinstance(item, tuple) and item[0] == "text" else {}
        if "offset" in frame:
            by_feed.setdefault(frame["feed"], []).append(item)
    some = [item for of_feed in by_feed.values() for item in of_feed[:-1]]
    return draws.choice(some) if some else None


SCENES = (frame_is_lost, bursts_for_slow_readers, reader_stops, many_flashes, retried_in_order)
SLOW_READERS = (bursts_for_slow_readers, reader_stops)
"""Those that need small buffers."""

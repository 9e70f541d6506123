"""Scenes of devices: slow readers, short visits, messages in a row."""

import random
from typing import TYPE_CHECKING

from tests.simulation import actions, faults
from tests.simulation.chat_service.faults import Fault as ChatFault
from tests.simulation.scenes.moments import DROPPED, later

if TYPE_CHECKING:
    from tests.simulation.world import World


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


SCENES = (reader_stops, many_flashes, retried_in_order)

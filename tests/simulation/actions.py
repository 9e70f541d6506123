"""What the users of a world do, and what happens to their devices."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.chat_service.service import Refusal
from tests.support.ledger import Kind

if TYPE_CHECKING:
    from tests.simulation.members import Member
    from tests.simulation.world import World

Action = Callable[["World", random.Random], None]
MAX_DEVICES = 10


def a_device(world: "World", draws: random.Random) -> "Member | None":
    """Return one of the devices that are in use."""
    devices = [device for device in world.clients if not device.is_over]
    return draws.choice(devices) if devices else None


def say(world: "World", draws: random.Random) -> None:
    """A device sends a message, or some in a row, to a chat group of its user."""
    device = a_device(world, draws)
    groups = sorted(world.groups_of(device.user_id)) if device else []
    if device and groups:
        group_id = draws.choice(groups)
        for _ in range(draws.choice((1, 1, 1, 2, 5))):
            device.send(group_id, world.text())


def say_twice(world: "World", draws: random.Random) -> None:
    """Two devices, perhaps of one user, send to one chat group at once."""
    for _ in range(2):
        say(world, draws)


def remove(world: "World", draws: random.Random) -> None:
    """A user is removed from a chat group; perhaps something is said before and behind it, in the same moment."""
    group_id = draws.choice(world.groups)
    group = world.chat.store.groups[group_id]
    members = sorted(set(group.members) - {group.owner_id})
    if not members:
        return
    user_id = draws.choice(members)
    around = draws.random() < 0.5
    if around:
        say(world, draws)
    _change(world, group_id, user_id, is_in=False)
    if around:
        say(world, draws)
    if draws.random() < 0.4:
        world.scheduler.after(draws.choice((0.0, 0.01, 0.3, 3.0)), _change_back, world, group_id, user_id)


def _change_back(world: "World", group_id: str, user_id: int) -> None:
    if user_id not in world.chat.store.groups[group_id].members:
        _change(world, group_id, user_id, is_in=True)


def add(world: "World", draws: random.Random) -> None:
    """A user is added to a chat group."""
    group_id = draws.choice(world.groups)
    others = sorted(set(world.users) - set(world.chat.store.groups[group_id].members))
    if others:
        _change(world, group_id, draws.choice(others), is_in=True)


def _change(world: "World", group_id: str, user_id: int, *, is_in: bool) -> None:
    record = world.ledger.adding if is_in else world.ledger.removing
    try:
        with record(group_id, user_id):
            (world.chat.add if is_in else world.chat.remove)(group_id, user_id)
    except Refusal as refusal:
        world.ledger.changes.pop()  # it changed nothing
        world.log.note(f"the chat service refuses: {refusal}")


def notify(world: "World", draws: random.Random) -> None:
    """The chat service notifies a user."""
    world.chat.notify(draws.choice(world.users))


def leave(world: "World", draws: random.Random) -> None:
    """A device leaves a chat group of its user, and perhaps joins again."""
    device = a_device(world, draws)
    groups = sorted(world.groups_of(device.user_id) - device.left) if device else []
    if device and groups:
        group_id = draws.choice(groups)
        device.leave(group_id)
        world.scheduler.after(draws.choice((0.0, 0.1, 2.0, 20.0)), device.join, group_id)


def device_comes(world: "World", draws: random.Random) -> None:
    """A user takes one more device."""
    if sum(not device.is_over for device in world.clients) < MAX_DEVICES:
        world.add_device(draws.choice(world.users))


def device_goes(world: "World", draws: random.Random) -> None:
    """A device ends, with or without a word."""
    device = a_device(world, draws)
    if device:
        draws.choice((device.finish, device.vanish))()


def flash(world: "World", draws: random.Random) -> None:
    """A device comes and goes within a moment."""
    device = world.add_device(draws.choice(world.users))
    world.scheduler.after(draws.choice((0.001, 0.01, 0.05, 0.5)), device.finish)


RESET = Kind("a device's network was reset")
STALLED = Kind("a device's network stalled")
SILENT = Kind("a device's network fell silent", connect=45.0, budget=45.0)
SLOW = Kind("a device read slowly", budget=70.0, connect=70.0)


def device_is_reset(world: "World", draws: random.Random) -> None:
    device = a_device(world, draws)
    if device and device.socket is not None:
        with world.ledger.fault(RESET, readers=[device.reader.name]):
            device.reset()


def device_stalls(world: "World", draws: random.Random) -> None:
    """A device's network delivers nothing for a while, and everything afterwards."""
    device = a_device(world, draws)
    if device and device.socket is not None:
        link = device.socket.link
        link.stall()
        cause = world.ledger.causes.begin(STALLED, readers=[device.reader.name])

        def go_on() -> None:
            link.go_on()
            world.ledger.causes.end(cause)

        world.scheduler.after(draws.choice((0.5, 5.0, 40.0)) * draws.random(), go_on)


def device_falls_silent(world: "World", draws: random.Random) -> None:
    """A device's connection loses everything without a word; the client has to find out."""
    device = a_device(world, draws)
    if device and device.socket is not None:
        with world.ledger.fault(SILENT, readers=[device.reader.name]):
            device.cut_silently()


def device_reads_slowly(world: "World", draws: random.Random) -> None:
    device = a_device(world, draws)
    if device and device.socket is not None:
        link, cause = device.socket.link, world.ledger.causes.begin(SLOW, readers=[device.reader.name])
        link.back.bytes_per_second = draws.choice((2_000.0, 20_000.0))

        def read_fast() -> None:
            link.back.bytes_per_second = 0.0
            world.ledger.causes.end(cause)

        world.scheduler.after(draws.uniform(1, 20), read_fast)


ACTIONS: dict[str, tuple[Action, float]] = {
    action.__name__: (action, weight)
    for action, weight in (
        (say, 10.0), (say_twice, 2.0), (remove, 2.0), (add, 2.0), (notify, 1.0), (leave, 1.0), (device_comes, 0.7),
        (device_goes, 0.5), (flash, 0.5), (device_is_reset, 1.5), (device_stalls, 1.0), (device_falls_silent, 0.5),
        (device_reads_slowly, 0.7),
    )
}  # fmt: skip
"""Each action by its name, with its weight."""

"""What scenes are made of: slow motion, connections that are out of step, something at a drawn moment."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.simulation import actions, faults
from tests.support.ledger import Kind

if TYPE_CHECKING:
    from tests.simulation.network import Link
    from tests.simulation.plan import Shape
    from tests.simulation.world import World

Scene = Callable[["World", random.Random], None]

LONGEST_BLINDNESS = 20.0
"""Seconds within which a gateway asks for a membership by itself, in the worlds in which events are lost."""

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

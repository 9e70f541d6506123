"""The plan of a world of scenes, and all scenes by their name."""

import random
from dataclasses import replace

from tests.simulation.plan import BEGIN_SECONDS, SETTINGS, Plan, Shape, Step
from tests.simulation.scenes import devices, members, redis, relay
from tests.simulation.scenes.moments import LONGEST_BLINDNESS, Scene

SCENES: dict[str, Scene] = {
    scene.__name__: scene for scene in (*members.SCENES, *redis.SCENES, *relay.SCENES, *devices.SCENES)
}
COUNT, SMALL_SHARE = 8, 0.4
"""How many scenes a world has, and how often each setting is small in it."""


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

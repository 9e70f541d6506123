"""The plan of a world of scenes, and all scenes by their name."""

import random
from collections.abc import Sequence
from dataclasses import replace

from tests.simulation.plan import BEGIN_SECONDS, SETTINGS, Plan, Shape, Step
from tests.simulation.scenes import administrators, devices, failures, gaps, members, redis, relay, senders, subscribing
from tests.simulation.scenes.moments import LONGEST_BLINDNESS, Scene

AREAS = (members, redis, relay, devices, administrators, senders, failures, subscribing, gaps)
SCENES: dict[str, Scene] = {scene.__name__: scene for area in AREAS for scene in area.SCENES}
COUNT, SMALL_SHARE = 8, 0.4
"""How many scenes a world has, and how often each setting is small in it."""

STOCK = subscribing.message_before_redis_subscribes.__name__
PLATFORM = frozenset(scene.__name__ for scene in senders.PLATFORM)
SMALL = {scene.__name__: ("outbox_bytes", "socket_buffer") for scene in devices.SLOW_READERS} | {
    "gateways_wake_together": ("presence_lease",), "gateway_sleeps_past_its_lease": ("presence_lease",),
    "redis_is_away_for_a_lease": ("presence_lease",), "another_group_is_ahead": ("relay_batch",),
    "connections_are_ended": ("terminations_at_once",), "event_comes_after_its_id_expired": ("id_seconds",),
    "batch_arrives_late": ("id_seconds",), "joins_before_the_user_is_told": ("linger_seconds",),
}  # fmt: skip
"""The settings that are small for a scene's sake."""


def plan_of_scenes(seed: int, names: Sequence[str] = ()) -> Plan:
    """Return the plan of a world of scenes; of these only, if some are named."""
    draws = random.Random(f"{seed}:scenes")
    shape = Shape(
        gateways=draws.choice((1, 2, 3)), relays=draws.choice((1, 2)), users=draws.randint(2, 4),
        groups=draws.randint(1, 3), platform=draws.random() < 0.3, frames=draws.random() < 0.5,
        shuffled=draws.random() < 0.5, turn_seconds=draws.choice((0.0, 0.0, 0.0002, 0.003)),
        everysec=draws.random() < 0.3,
        settings=tuple(
            (name, draws.choice(values)) for name, values in SETTINGS.items() if draws.random() < SMALL_SHARE
        ),
    )  # fmt: skip
    some = list(names) or draws.sample(list(SCENES), draws.choice((1, 2, 3)))
    if STOCK in some:  # what the stock layer does not survive is not promised
        some, shape = [STOCK], replace(shape, stock_layer=True, settings=(*shape.settings, ("check_seconds", 20.0)))
    shape = _for_their_sake(draws, shape, some)
    steps, at = [], BEGIN_SECONDS
    for _ in range(COUNT):
        steps.append(Step(at, draws.choice(some), 0))
        at += draws.choice((1.0, 4.0, 12.0)) * draws.uniform(0.5, 1.0)
    chat_every = draws.choice((0.5, 3.0, 30.0))
    while (spoken := BEGIN_SECONDS + draws.expovariate(1 / chat_every)) < at:
        steps.append(Step(spoken + draws.uniform(0, at - BEGIN_SECONDS), "say", 0))
        if len(steps) > 40:
            break
    numbered = sorted((step for step in steps if step.at < at), key=lambda step: step.at)
    end = at + LONGEST_BLINDNESS if "event_is_lost" in some else at
    return Plan(seed, shape, tuple(replace(step, number=n) for n, step in enumerate(numbered)), (end,))


def _for_their_sake(draws: random.Random, shape: Shape, some: Sequence[str]) -> Shape:
    """Return the shape with what these scenes need to show anything."""
    settings = dict(shape.settings)
    for name in (name for scene in some for name in SMALL.get(scene, ()) if name not in settings):
        settings[name] = draws.choice(SETTINGS[name])
    is_platform = shape.platform or any(scene in PLATFORM and draws.random() < 0.8 for scene in some)
    return replace(shape, platform=is_platform, settings=tuple(settings.items()))

"""What happens in a world, drawn from its seed before it begins: its shape, its faults and what its users do.

A plan can be shortened: what one step does never depends on another step, because each draws from a stream of its own.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

BEGIN_SECONDS = 8.0
"""All processes have started and all clients are connected by then."""
SETTLE_SECONDS = 60.0
"""After a storm: by then every delivery and every subscription is right again."""
QUIET_SECONDS = 110.0
"""After a storm: by then presence, audit, tasks and keys are right as well, without any new event to help."""


DEFAULT_LEASE = 30.0
"""The lease of a gateway's presence, in seconds."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a world, and the variant of each of its parts.

    ``platform``: the chat service behaves as the Go platform, and the gateways publish. ``frames``: the server offers
    the extension `chatws.frames`. ``shuffled``: ready callbacks of different tasks run in a drawn order.
    ``turn_seconds``: how long each turn of a process's loop takes.
    ``stock_layer``: the channel layer is channels_redis's own.
    ``everysec``: a crash of Redis loses what it wrote in the last second. ``patience``: by which factor everything that
    polls is slower, for long calm worlds. ``settings``: those that differ from production's, with their values.
    """

    gateways: int = 2
    relays: int = 2
    users: int = 4
    groups: int = 3
    platform: bool = False
    frames: bool = True
    shuffled: bool = False
    turn_seconds: float = 0.0
    stock_layer: bool = False
    everysec: bool = False
    patience: int = 1
    settings: tuple[tuple[str, float], ...] = ()


SETTINGS: Mapping[str, Sequence[float]] = {
    "linger_seconds": (1.0, 5.0), "feed_publications": (8, 60), "id_seconds": (15, 60), "presence_lease": (6.0, 12.0),
    "outbox_bytes": (8_000, 20_000), "relay_batch": (1, 5, 20), "membership_seconds": (20.0, 60.0),
    "read_at_once": (3, 10), "presence_chunk": (2,), "terminations_at_once": (1,), "socket_buffer": (1_500, 6_000),
}  # fmt: skip
"""Small values of settings and of constants: what production meets in days, a world then meets in seconds."""
SMALL_SHARE = 0.25
"""How often each of them is small."""
CALM_SHARE, CALM_PATIENCE = 0.5, 10
"""How often a world is calm: hours, in which less happens. Its `Shape.patience`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault or action. ``number`` names the stream that it draws from."""

    at: float
    what: str
    number: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that happens. ``rounds``: the end of each storm, in seconds; each is followed by a quiet stretch."""

    seed: int
    shape: Shape
    steps: tuple[Step, ...]
    rounds: tuple[float, ...]

    @property
    def end(self) -> float:
        return self.rounds[-1] + QUIET_SECONDS

    def without(self, steps: Sequence[Step]) -> "Plan":
        """Return the plan without some of its steps."""
        left_out = set(steps)
        return replace(self, steps=tuple(step for step in self.steps if step not in left_out))


def plan_of(seed: int, faults: Mapping[str, float], actions: Mapping[str, float]) -> Plan:
    """Return the plan of a seed. ``faults``, ``actions``: the names that may be drawn, each with its weight."""
    draws = random.Random(f"{seed}:plan")
    shape = _shape(draws)
    steps: list[Step] = []
    rounds: list[float] = []
    at = BEGIN_SECONDS
    if shape.patience > 1:
        lengths = [draws.uniform(10, 30)]
    else:
        lengths = [draws.uniform(20, 90) for _ in range(draws.randint(1, 3))]
    for length in lengths:
        some = _some_of(draws, faults)
        fault_every, action_every = draws.choice((0.1, 0.2, 0.5, 2.0)), draws.choice((0.2, 0.5, 1.0))
        steps += _times(draws, at, length, fault_every, some)
        steps += _times(draws, at, length, action_every, actions)
        rounds.append(at + length)
        at += length + QUIET_SECONDS
    if shape.patience > 1:  # a calm world
        length = draws.uniform(1_800, 7_200)
        steps += _times(draws, at, length, draws.choice((3.3, 5.5)), faults)
        steps += _times(draws, at, length, draws.choice((20.0, 60.0)), actions)
        rounds.append(at + length)
    numbered = sorted(steps, key=lambda step: step.at)
    return Plan(seed, shape, tuple(replace(step, number=n) for n, step in enumerate(numbered)), tuple(rounds))


def _shape(draws: random.Random) -> Shape:
    is_calm = draws.random() < CALM_SHARE
    return Shape(
        gateways=draws.choice((1, 2) if is_calm else (1, 2, 2, 3)),
        relays=draws.choice((1, 2) if is_calm else (1, 2, 2)),
        users=draws.randint(2, 6), groups=draws.randint(1, 4), platform=draws.random() < 0.3,
        frames=draws.random() < 0.5, shuffled=draws.random() < 0.3, everysec=draws.random() < 0.3,
        patience=CALM_PATIENCE if is_calm else 1,
        settings=tuple(
            (name, draws.choice(values)) for name, values in SETTINGS.items() if draws.random() < SMALL_SHARE
        ),
    )  # fmt: skip


def _some_of(draws: random.Random, faults: Mapping[str, float]) -> dict[str, float]:
    """Return a part of the faults, often a small one: a world in which few kinds meet shows other defects."""
    names = list(faults)
    some = draws.sample(names, draws.choice((1, 2, 4, len(names) // 2, len(names))))
    return {name: faults[name] for name in some}


def _times(draws: random.Random, begin: float, length: float, every: float, weights: Mapping[str, float]) -> list[Step]:
    """Return steps at random moments, one each ``every`` seconds on average."""
    steps, at = [], begin + draws.expovariate(1 / every)
    while at < begin + length:
        [what] = draws.choices(list(weights), list(weights.values()))
        steps.append(Step(at, what, 0))
        at += draws.expovariate(1 / every)
    return steps

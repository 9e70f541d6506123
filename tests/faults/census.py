"""Count every key in Redis by its pattern: none may be unknown, more than what lives allows, or without its expiry."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from realtime.redis import keys


@dataclass(frozen=True)
class Living:
    """What lives at a moment: each bound of a pattern is made of these."""

    users: int
    groups: int
    topics: int
    connections: int
    """At most so many are open."""
    processes: int
    """Gateways and relays, each."""
    log: int = 1_000
    """The most publications of a feed's log."""


Bound = Callable[[Living], int]


@dataclass(frozen=True)
class Pattern:
    """A family of keys: how many there may be, and how many elements each may have. ``expires``: each has an expiry.

    Without a bound for its elements, a key holds what was sent in the last minutes.
    """

    name: str
    keys: Bound
    elements: Bound | None = None
    expires: bool = False


def one(living: Living) -> int:
    """Return the bound of a key of which there is one."""
    return 1


def of(what: str) -> Bound:
    """Return the bound that is one of `Living`'s numbers."""
    return lambda living: int(getattr(living, what))


def feeds(name: str, elements: Bound | None = None) -> list[Pattern]:
    """Return the patterns of a part of the feeds: of users and of chat groups."""
    return [
        Pattern(f"chatws:{{user:#}}:{name}", of("users"), elements, expires=True),
        Pattern(f"chatws:{{group:*}}:{name}", of("groups"), elements, expires=True),
    ]


PATTERNS = [
    *feeds("meta"), *feeds("log", of("log")), *feeds("ids"), *feeds("ids:old"),
    Pattern("chatws:{@}:lease", lambda living: living.topics + 1, expires=True),  # and that of the outbox
    Pattern("chatws:{@}:token", lambda living: living.topics + 1),
    Pattern("chatws:{@}:pos", of("topics")),
    Pattern("chatws:{@}:relays", of("topics"), of("processes"), expires=True),
    Pattern("chatws:{@}:intents", of("topics"), of("connections")),
    Pattern("chatws:{@}:intents:due", of("topics"), of("connections")),
    Pattern("@", of("topics")),
    Pattern("chatws:topics", one, of("topics")),
    Pattern("chatws:nodes", one, of("processes")),
    Pattern("chatws:node:+", of("processes"), of("connections")),
    Pattern("chatws:node:+:mark", of("processes"), expires=True),
    Pattern("chatws:online", one, of("connections")),
    Pattern("chatws:user:#", of("connections"), of("connections"), expires=True),
    Pattern("user:status:#", of("users"), expires=True),
    Pattern("chatws:limit:sends:#", of("users"), expires=True),
    Pattern("chatws:revoked:version", one),
    Pattern("chatws:reaper", one, of("processes")),
]  # fmt: skip
"""`#` is a number, `*` an id, `+` a name of a process, `@` a topic. Missing are dead letters, revocations, failed
logins and requests to end connections: nothing in a soak makes one."""
_PARTS = {"#": r"\d+", "*": r"[A-Za-z0-9_-]+", "+": r"[A-Za-z0-9.-]+"}


@dataclass
class Census:
    """The keys at one moment, by pattern: how many, and the elements of the largest."""

    count: Counter[str]
    largest: Counter[str]
    problems: list[str]


def matcher(topics: Iterable[str]) -> Callable[[str], Pattern | None]:
    """Return the function that finds the pattern of a key."""
    parts = {**_PARTS, "@": "|".join(re.escape(topic) for topic in (*topics, keys.audit_stream(), "reference-outbox"))}
    found = []
    for pattern in PATTERNS:
        text = "".join(f"(?:{parts[part]})" if part in parts else re.escape(part) for part in pattern.name)
        found.append((re.compile(text), pattern))

    def match(key: str) -> Pattern | None:
        return next((pattern for expression, pattern in found if expression.fullmatch(key)), None)

    return match


async def take(redis: Any, living: Living) -> Census:
    """Look at every key, and compare each pattern with its bounds."""
    match = matcher([topic.decode() for topic in await redis.smembers(keys.topics())])
    census = Census(Counter(), Counter(), [])
    async for raw in redis.scan_iter(count=1_000):
        key = raw.decode()
        pattern = match(key)
        if pattern is None:
            census.problems.append(f"unknown key: {key}")
            continue
        census.count[pattern.name] += 1
        expiry = await redis.pttl(raw)
        if pattern.expires and expiry == -1:
            census.problems.append(f"{key} has no expiry")
        if pattern.elements is not None and expiry != -2:
            size = await _elements(redis, raw)
            census.largest[pattern.name] = max(census.largest[pattern.name], size)
            if size > pattern.elements(living):
                census.problems.append(f"{key} has {size:,} elements instead of at most {pattern.elements(living):,}")
    for pattern in PATTERNS:
        if census.count[pattern.name] > pattern.keys(living):
            most = pattern.keys(living)
            census.problems.append(f"{pattern.name}: {census.count[pattern.name]:,} keys instead of at most {most:,}")
    return census


async def _elements(redis: Any, key: bytes) -> int:
    """Return how many elements a key has; 0 if it is gone."""
    kind = (await redis.type(key)).decode()
    commands = {"hash": "HLEN", "zset": "ZCARD", "set": "SCARD", "list": "LLEN", "stream": "XLEN"}
    return int(await redis.execute_command(commands[kind], key)) if kind in commands else 0

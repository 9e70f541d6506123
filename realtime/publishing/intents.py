"""Entries that are to be added to a topic once something else has happened, and are added once, whoever dies.

An intent is noted before that something is tried, and taken away in the same step that adds the entry. Whoever works on
one postpones it; one that nobody postpones is claimed by another process, which finds out what happened.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.scripts import Script

LEASE_MS = 4_000
"""How long an intent is left to whoever noted, postponed or claimed it."""
MOST = 20_000
"""Intents of a topic at a time: what Redis keeps of them is bounded by so many times the largest content."""

_intend = Script("intend")
_fulfil = Script("fulfil")
_postpone = Script("postpone")
_claim = Script("claim")


class Noted(IntEnum):
    """What became of noting an intent."""

    NEW = 0
    BEFORE = 1
    ADDED = 2
    """The entry has been added already."""
    FULL = 3
    """It was not noted: `MOST` are."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One that nobody works on any more; ``age`` in seconds since it was noted."""

    id: str
    content: bytes
    age: float


class Intents:
    """The intents of one topic. An entry's id is remembered for ``remembered`` seconds after it was added.

    Every method raises what Redis raises, and may be called again.
    """

    def __init__(self, redis: Redis, topic: str, remembered: int) -> None:
        self._redis: Any = redis
        self._topic = topic
        self._remembered = remembered
        self._intents = keys.intents(topic)
        self._due = keys.intents_due(topic)

    async def note(self, intent_id: str, content: bytes) -> Noted:
        """Say what is about to be tried."""
        own = [self._intents, self._due, self._mark(intent_id)]
        return Noted(await _intend.run(self._redis, own, [intent_id, content, LEASE_MS, MOST]))

    async def fulfil(self, intent_id: str, entry: Mapping[bytes, bytes]) -> bool:
        """Add the entry and forget the intent; False if it had been added."""
        own = [self._topic, self._intents, self._due, self._mark(intent_id)]
        fields = [part for pair in entry.items() for part in pair]
        return bool(await _fulfil.run(self._redis, own, [intent_id, self._remembered, *fields]))

    async def withdraw(self, intent_id: str) -> None:
        """Forget an intent of which nothing will come."""
        async with self._redis.pipeline(transaction=True) as both:
            both.hdel(self._intents, intent_id)
            both.zrem(self._due, intent_id)
            await both.execute()

    async def postpone(self, intent_ids: Iterable[str]) -> None:
        """These are being worked on here."""
        await _postpone.run(self._redis, [self._due], [LEASE_MS, *intent_ids])

    async def claim(self, most: int) -> list[Intent]:
        """Intents that nobody works on, from now on ours: the oldest first."""
        claimed = await _claim.run(self._redis, [self._intents, self._due], [most, LEASE_MS])
        return [Intent(intent_id.decode(), content, age / 1000) for intent_id, content, age in claimed]

    def _mark(self, intent_id: str) -> str:
        return keys.added(self._topic, intent_id)

"""Intents: add an entry to a topic exactly once after an external action, even if the process dies in between.

A process notes an intent before it tries the action. Adding the entry deletes the intent in the same step. The process
that works on an intent postpones it regularly; another process may claim an intent that was not postponed, and then
finds out whether the action succeeded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.replicas import confirmed
from realtime.redis.scripts import Script

LEASE_MS = 4_000
"""How long nobody else may claim an intent after it was noted, postponed or claimed."""
MAX_INTENTS = 20_000
"""Most intents of a topic at a time."""
MAX_BYTES = 67_108_864
"""Most bytes that the intents of a topic take in Redis, as Redis estimates them."""

_intent_note = Script("intent_note")
_intent_fulfil = Script("intent_fulfil")
_intent_postpone = Script("intent_postpone")
_intent_claim = Script("intent_claim")


class Noted(IntEnum):
    """The result of noting an intent."""

    NEW = 0
    BEFORE = 1
    """It had been noted before."""
    ADDED = 2
    """The entry has been added already."""
    FULL = 3
    """It was not noted, because the topic has `MAX_INTENTS` intents, or `MAX_BYTES` of them."""


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent claimed from a process that stopped working on it; ``age`` in seconds since it was noted."""

    id: str
    content: bytes
    age: float


class Intents:
    """The intents of one topic. An entry's id is remembered for ``remembered`` seconds after it was added.

    An entry counts as added once so many ``replicas`` have it.
    Every method raises what Redis raises, and is safe to repeat.
    """

    def __init__(self, redis: Redis, topic: str, remembered: int, replicas: int = 0) -> None:
        self._redis = redis
        self._topic = topic
        self._remembered = remembered
        self._replicas = replicas
        self._intents = keys.intents(topic)
        self._due = keys.intents_due(topic)

    async def note(self, intent_id: str, content: bytes) -> Noted:
        """Store an intent before its action is tried."""
        own = [self._intents, self._due, self._mark(intent_id)]
        return Noted(await _intent_note.run(self._redis, own, [intent_id, content, LEASE_MS, MAX_INTENTS, MAX_BYTES]))

    async def fulfil(self, intent_id: str, entry: Mapping[bytes, bytes]) -> bool:
        """Add the entry and delete the intent in one step; False if the entry had been added before."""
        own = [self._topic, self._intents, self._due, self._mark(intent_id)]
        fields = [part for pair in entry.items() for part in pair]
        was_added = bool(await _intent_fulfil.run(self._redis, own, [intent_id, self._remembered, *fields]))
        await confirmed(self._redis, self._replicas)
        return was_added

    async def withdraw(self, intent_id: str) -> None:
        """Delete an intent whose action failed for good."""
        async with self._redis.pipeline(transaction=True) as both:
            both.hdel(self._intents, intent_id)
            both.zrem(self._due, intent_id)
            await both.execute()

    async def postpone(self, intent_ids: Iterable[str]) -> None:
        """Extend the lease of intents that this process works on."""
        await _intent_postpone.run(self._redis, [self._due], [LEASE_MS, *intent_ids])

    async def claim(self, limit: int) -> list[Intent]:
        """Claim up to ``limit`` intents with an expired lease, oldest first."""
        claimed = await _intent_claim.run(self._redis, [self._intents, self._due], [limit, LEASE_MS])
        return [Intent(intent_id.decode(), content, age / 1000) for intent_id, content, age in claimed]

    def _mark(self, intent_id: str) -> str:
        return keys.added(self._topic, intent_id)

"""Read, replay and drop dead letters: stream entries that can never succeed, each with a reason.

`realtime.relay.topic` writes them; the command `dead_letters` and the admin use this module.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from realtime.exceptions import PoisonEntry
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.scripts import Script
from realtime.relay.watermill import METADATA, PAYLOAD, read_metadata

UNREADABLE_METADATA = b"dlq_metadata"

_relay_replay = Script("relay_replay")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry of ``<topic>.dlq``.

    ``id`` is its id in that stream, ``entry_id`` its id on the topic; ``replays`` counts earlier replays.
    """

    topic: str
    id: str
    fields: Mapping[bytes, bytes]
    metadata: Mapping[str, str]

    @property
    def reason(self) -> str:
        return self.metadata.get("dlq_reason", "")

    @property
    def entry_id(self) -> str:
        return self.metadata.get("dlq_entry_id", "")

    @property
    def replays(self) -> int:
        count = self.metadata.get("dlq_replays", "0")
        return int(count) if count.isascii() and count.isdigit() else 0

    @property
    def time(self) -> datetime | None:
        """When the dead letter was written; None if its metadata has no readable time."""
        try:
            return datetime.fromisoformat(self.metadata.get("dlq_timestamp", ""))
        except ValueError:
            return None

    @property
    def payload(self) -> str:
        """The payload as text; for an entry without a payload, all its fields."""
        shown = self.fields.get(PAYLOAD) or b", ".join(
            name + b"=" + value for name, value in self.fields.items() if name not in (PAYLOAD, METADATA)
        )
        return shown.decode(errors="backslashreplace")

    def entry(self) -> dict[bytes, bytes]:
        """Return the fields to replay: the original ones, with the count of replays in the metadata."""
        fields = {name: value for name, value in self.fields.items() if name != UNREADABLE_METADATA}
        if UNREADABLE_METADATA in self.fields:
            fields[METADATA] = self.fields[UNREADABLE_METADATA]
        else:
            kept = {name: value for name, value in self.metadata.items() if not name.startswith("dlq_")}
            fields[METADATA] = msgspec.msgpack.encode({**kept, "dlq_replays": str(self.replays + 1)})
        return fields


class DeadLetters:
    """The dead letters of all topics. Every method raises what Redis raises."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def topics(self) -> list[str]:
        """Return the topics that have ever had a dead letter."""
        return sorted(name.decode() for name in await self._redis.smembers(keys.dead_letter_topics()))

    async def count(self, topic: str) -> int:
        """Return how many dead letters a topic has."""
        return int(await self._redis.xlen(keys.dead_letters(topic)))

    async def latest(self, topic: str, limit: int, before: str = "+") -> list[DeadLetter]:
        """Return at most ``limit`` dead letters of a topic that are older than ``before``, newest first."""
        upto = before if before == "+" else f"({before}"
        found = await self._redis.xrevrange(keys.dead_letters(topic), max=upto, count=limit)
        return [_letter(topic, letter_id, fields) for letter_id, fields in found]

    async def get(self, topic: str, letter_id: str) -> DeadLetter | None:
        """Return one dead letter; None if it no longer exists."""
        found = await self._redis.xrange(keys.dead_letters(topic), min=letter_id, max=letter_id)
        return _letter(topic, *found[0]) if found else None

    async def all(self, topic: str) -> AsyncIterator[DeadLetter]:
        """Yield every dead letter that a topic has at the time of the call, oldest first."""
        newest = await self.latest(topic, 1)
        after = "-"
        while newest:
            found = await self._redis.xrange(keys.dead_letters(topic), min=after, max=newest[0].id, count=100)
            if not found:
                return
            for letter_id, fields in found:
                yield _letter(topic, letter_id, fields)
            after = f"({found[-1][0].decode()}"

    async def replay(self, letter: DeadLetter) -> str | None:
        """Append a dead letter to its topic again; return the new entry's id, or None if it no longer existed."""
        both = [keys.dead_letters(letter.topic), letter.topic]
        flat = [part for field in letter.entry().items() for part in field]
        entry_id: bytes | None = await _relay_replay.run(self._redis, both, [letter.id, *flat])
        return entry_id.decode() if entry_id else None

    async def drop(self, letter: DeadLetter) -> bool:
        """Delete a dead letter for good; False if it no longer existed."""
        return bool(await self._redis.xdel(keys.dead_letters(letter.topic), letter.id))


def _letter(topic: str, letter_id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    try:
        metadata = read_metadata(fields)
    except PoisonEntry:
        metadata = {}
    return DeadLetter(topic, letter_id.decode(), fields, metadata)

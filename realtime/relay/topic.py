"""One topic's stream: its cursor, its next entries and its dead letters.

Entries are read by XREAD from a cursor of our own; the consumer group only shows the position to monitoring.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from realtime.conf import RealtimeConf
from realtime.exceptions import GroupExists, MissingKey, PoisonEntry, RedisDefect
from realtime.observability import metrics
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.scripts import Script
from realtime.relay.watermill import METADATA, PAYLOAD, UUID, read_metadata

logger = logging.getLogger(__name__)

HANDLER_NAME = "relay_stream"
BEGINNING = "0-0"
COUNTED_AT_ONCE = 1_000
ANSWER_SECONDS = 1.0
"""How much earlier than the client's time limit for an answer Redis stops waiting for an entry, if that is longer."""

_relay_commit = Script("relay_commit")
_relay_dead_letter = Script("relay_dead_letter")

RawEntry = tuple[str, Mapping[bytes, bytes]]


SavedCursor = Callable[[str], Awaitable[str | None]]
"""Returns a topic's cursor from another store; raises `DatabaseUnavailable`."""


async def _nowhere(topic: str) -> str | None:
    return None


class Topic:
    """A stream and its cursor, ``chatws:{<topic>}:pos``. A stream of our own (``is_ours``) may be trimmed."""

    def __init__(
        self,
        redis: Redis,
        name: str,
        conf: RealtimeConf,
        *,
        saved_cursor: SavedCursor = _nowhere,
        is_ours: bool = False,
    ) -> None:
        self.name = name
        self.is_ours = is_ours
        self._saved_cursor = saved_cursor
        self._alarm = ""
        self._redis = redis
        self._group = conf.consumer_group
        self._dead_letters = conf.dead_letters
        self._dead_letter_bytes = conf.dead_letter_bytes
        self._cursor_key = keys.cursor(name)

    async def start(self) -> str:
        """Return the cursor, and store it if Redis has none.

        Without a cursor in Redis it is the database's copy. At the very first start it is the consumer group's position
        if the group exists, else the stream's end.

        Raises:
            DatabaseUnavailable: Redis has no cursor and the database is unavailable.
        """
        cursor: bytes | None = await self._redis.hget(self._cursor_key, "id")
        if cursor is None:
            position = await self._saved_cursor(self.name)
            if position is not None:
                logger.warning(
                    "%s: Redis lost the cursor; continuing from the database's copy, %s", self.name, position
                )
            else:
                position = await self._first_position()
            read = await self._entries_up_to(position)
            await self._redis.hset(self._cursor_key, mapping={"id": position, "read": read})
            cursor = position.encode()
        await self._redis.sadd(keys.topics(), self.name)
        await self.look_for_losses(cursor.decode())
        return cursor.decode()

    async def read(self, cursor: str, count: int, block_ms: int) -> list[RawEntry]:
        """Return at most ``count`` entries after the cursor; wait up to ``block_ms`` for the first.

        It waits less if the client's own time limit for an answer is shorter: that would end the connection.
        """
        limit = self._redis.connection_pool.connection_kwargs.get("socket_timeout")
        if limit:
            block_ms = min(block_ms, int(max(limit / 2, limit - ANSWER_SECONDS) * 1000))
        answer = await self._redis.xread({self.name: cursor}, count=count, block=block_ms)
        if not answer:
            return []
        [(_, entries)] = answer
        return [(entry_id.decode(), fields or {}) for entry_id, fields in entries]

    async def commit(self, token: int, since: str, entry_id: str, count: int) -> bool:
        """Move the cursor from ``since`` over ``count`` entries to ``entry_id``; False if the lease was lost."""
        of_topic = [self._cursor_key, self.name]
        return bool(await _relay_commit.run(self._redis, of_topic, [token, entry_id, count, self._group, since]))

    async def trim(self, cursor: str) -> int:
        """Remove entries that the relay and every consumer group of the stream have processed; return how many."""
        done = cursor
        for group in await self._groups():
            pending = await self._redis.xpending(self.name, group["name"])
            oldest = pending["min"] if pending["pending"] else group["last-delivered-id"]
            done = min(done, oldest.decode(), key=_order)
        removed: int = await self._redis.xtrim(self.name, minid=done, approximate=True)
        return removed

    async def dead_letter(self, entry: RawEntry, reason: str) -> None:
        """Write an entry that can never succeed to ``<topic>.dlq``, with payload and metadata unchanged."""
        entry_id, fields = entry
        unreadable: list[bytes] = []
        try:
            metadata = read_metadata(fields)
        except PoisonEntry:
            metadata = {}
            unreadable = [b"dlq_metadata", fields[METADATA]]
        metadata |= {
            "dlq_reason": reason,
            "dlq_timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "dlq_original_topic": self.name,
            "dlq_handler_name": HANDLER_NAME,
            "dlq_entry_id": entry_id,
            "dlq_replays": metadata.get("dlq_replays", "0"),
        }
        written = [UUID, fields.get(UUID, b""), METADATA, msgspec.msgpack.encode(metadata)]
        written += [PAYLOAD, fields.get(PAYLOAD, b""), *unreadable]
        for name, value in fields.items():
            if name not in (UUID, METADATA, PAYLOAD):
                written += [name, value]
        of_topic = [self._cursor_key, keys.dead_letters(self.name), keys.dead_letter_topics()]
        given: list[str | bytes | int] = [entry_id, self._dead_letters, self.name, *written]
        dropped = int(await _relay_dead_letter.run(self._redis, of_topic, given))
        if dropped >= 0:
            logger.warning("%s: entry %s was moved to %s.dlq: %s", self.name, entry_id, self.name, reason)
        self._count_dropped(max(dropped, 0))

    async def bound_dead_letters(self) -> None:
        """Drop the oldest dead letters until they take at most ``dead_letter_bytes``. The newest one stays."""
        letters, limit, dropped = keys.dead_letters(self.name), self._dead_letter_bytes, 0
        try:
            while (used := await self._redis.memory_usage(letters, samples=0) or 0) > limit:
                count = await self._redis.xlen(letters)
                if count <= 1:
                    break
                kept = max(1, 9 * count * limit // (10 * used))
                dropped += await self._redis.xtrim(letters, maxlen=kept, approximate=False)
        except RedisDefect as error:  # not every offer of Redis measures a key
            logger.warning("%s: the size of its dead letters is unknown: %s", self.name, error)
        self._count_dropped(dropped)

    def _count_dropped(self, letters: int) -> None:
        if letters:
            metrics.dead_letters_dropped.labels(self.name).inc(letters)
            logger.error("%s: the %d oldest dead letters were dropped: there were too many", self.name, letters)

    async def lag(self) -> int | None:
        """Return how many entries wait; None if the stream or the cursor doesn't exist. It only reads."""
        for group in await self._groups():
            if group["name"] == self._group.encode() and group["lag"] is not None:
                lag: int = group["lag"]
                return lag
        read = await self._redis.hget(self._cursor_key, "read")
        try:
            info = await self._redis.xinfo_stream(self.name)
        except MissingKey:
            return None
        return None if read is None else min(info["length"], max(0, info["entries-added"] - int(read)))

    async def length(self) -> int:
        """Return how many entries the stream holds, processed ones included."""
        return int(await self._redis.xlen(self.name))

    async def _first_position(self) -> str:
        with suppress(GroupExists):
            await self._redis.xgroup_create(self.name, self._group, id="$", mkstream=True)
        [group] = [group for group in await self._groups() if group["name"] == self._group.encode()]
        position: str = group["last-delivered-id"].decode()
        pending = await self._redis.xpending(self.name, self._group)
        if pending["pending"]:
            oldest: str = pending["min"].decode()
            position = _before(oldest)
        return position

    async def _entries_up_to(self, position: str) -> int:
        """Return how many entries the stream has ever had up to a position."""
        try:
            info = await self._redis.xinfo_stream(self.name)
        except MissingKey:
            return 0
        waiting, after = 0, f"({position}"
        while found := await self._redis.xrange(self.name, min=after, count=COUNTED_AT_ONCE):
            waiting += len(found)
            after = f"({found[-1][0].decode()}"
        return int(info["entries-added"]) - waiting

    async def look_for_losses(self, cursor: str) -> None:
        """Log an error if the stream ends before the cursor, or lost entries that the relay has not read."""
        alarm = await self._losses(cursor)
        if alarm and alarm != self._alarm:
            logger.error("%s: %s", self.name, alarm)
        self._alarm = alarm

    async def _losses(self, cursor: str) -> str:
        try:
            info = await self._redis.xinfo_stream(self.name)
        except MissingKey:
            # Redis creates the stream again with the next entry.
            return "" if cursor == BEGINNING else f"the stream no longer exists; it was relayed up to {cursor}"
        last: str = info["last-generated-id"].decode()
        if _order(last) < _order(cursor):
            return f"the stream ends at {last}, before the cursor {cursor}: Redis lost entries, or its clock went back"
        removed = info["entries-added"] - info["length"]
        read = int(await self._redis.hget(self._cursor_key, "read") or 0)
        if removed > read:
            return f"{removed - read} entries after the cursor {cursor} were removed unread"
        return ""

    async def _groups(self) -> Sequence[dict[str, Any]]:
        try:
            groups: Sequence[dict[str, Any]] = await self._redis.xinfo_groups(self.name)
        except MissingKey:
            return []
        return groups


async def relayed_topics(redis: Redis) -> list[str]:
    """Return the topics that a relay has ever started on, sorted."""
    return sorted(name.decode() for name in await redis.smembers(keys.topics()))


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


def _before(entry_id: str) -> str:
    milliseconds, sequence = _order(entry_id)
    if sequence > 0:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{2**64 - 1}" if milliseconds > 0 else BEGINNING

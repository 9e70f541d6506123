"""One stream: where its relay stands, what comes next, what can never succeed.

Read by XREAD from our own cursor; the consumer group only shows the position to whoever watches.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from realtime.conf import RealtimeConf
from realtime.exceptions import PoisonEntry
from realtime.redis import Redis, ResponseError, Script
from realtime.relay.entry import METADATA, PAYLOAD, UUID, read_metadata

logger = logging.getLogger(__name__)

HANDLER_NAME = "relay_stream"
BEGINNING = "0-0"

_commit = Script("commit")
_dead_letter = Script("dead_letter")

RawEntry = tuple[str, Mapping[bytes, bytes]]


class Topic:
    """A stream and its cursor, ``chatws:{<topic>}:pos``."""

    def __init__(self, redis: Redis, name: str, conf: RealtimeConf) -> None:
        self.name = name
        self._redis: Any = redis  # redis-py's types give one signature for its two kinds of client
        self._group = conf.consumer_group
        self._dead_letters = conf.dead_letters
        self._cursor_key = f"chatws:{{{name}}}:pos"

    async def start(self) -> str:
        """The cursor. At the very first start: the consumer group's position where it exists, else the stream's end."""
        cursor: bytes | None = await self._redis.hget(self._cursor_key, "id")
        if cursor is None:
            position, read = await self._first_position()
            await self._redis.hset(self._cursor_key, mapping={"id": position, "read": read})
            cursor = position.encode()
        await self._look_for_losses(cursor.decode())
        return cursor.decode()

    async def read(self, cursor: str, count: int, block_ms: int) -> list[RawEntry]:
        """At most ``count`` entries after the cursor, waiting up to ``block_ms`` for the first."""
        answer = await self._redis.xread({self.name: cursor}, count=count, block=block_ms)
        if not answer:
            return []
        [(_, entries)] = answer
        return [(entry_id.decode(), fields or {}) for entry_id, fields in entries]

    async def commit(self, token: int, entry_id: str, count: int) -> bool:
        """Move the cursor past ``entry_id``; False if a later lease has taken over."""
        keys = [self._cursor_key, self.name]
        return bool(await _commit.run(self._redis, keys, [token, entry_id, count, self._group]))

    async def dead_letter(self, entry: RawEntry, reason: str) -> None:
        """Write an entry that can never succeed to ``<topic>.dlq``, payload and metadata untouched."""
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
        keys = [self._cursor_key, f"{self.name}.dlq"]
        if await _dead_letter.run(self._redis, keys, [entry_id, self._dead_letters, *written]):
            logger.warning("%s: entry %s went to %s.dlq: %s", self.name, entry_id, self.name, reason)

    async def lag(self) -> int | None:
        """Entries that wait; None where Redis can't tell."""
        for group in await self._groups():
            if group["name"] == self._group.encode():
                lag: int | None = group["lag"]
                return lag
        return None

    async def _first_position(self) -> tuple[str, int]:
        try:
            await self._redis.xgroup_create(self.name, self._group, id="$", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        [group] = [group for group in await self._groups() if group["name"] == self._group.encode()]
        position: str = group["last-delivered-id"].decode()
        pending = await self._redis.xpending(self.name, self._group)
        if pending["pending"]:
            oldest: str = pending["min"].decode()
            position = _before(oldest)
        info = await self._redis.xinfo_stream(self.name)
        waiting = len(await self._redis.xrange(self.name, min=f"({position}" if position != BEGINNING else "-"))
        return position, info["entries-added"] - waiting

    async def _look_for_losses(self, cursor: str) -> None:
        """An alarm, not something to skip: a stream that ends before the cursor, or begins after what we have read."""
        try:
            info = await self._redis.xinfo_stream(self.name)
        except ResponseError:  # no such stream: nothing has been written since it was lost
            if cursor != BEGINNING:
                logger.error("%s: the stream is gone; we had relayed it up to %s", self.name, cursor)
            return
        last: str = info["last-generated-id"].decode()
        if _order(last) < _order(cursor):
            logger.error("%s: the stream ends at %s, before our cursor %s: Redis lost entries", self.name, last, cursor)
        removed = info["entries-added"] - info["length"]
        read = int(await self._redis.hget(self._cursor_key, "read") or 0)
        if removed > read:
            logger.error("%s: %d entries after our cursor %s were removed unread", self.name, removed - read, cursor)

    async def _groups(self) -> Sequence[dict[str, Any]]:
        groups: Sequence[dict[str, Any]] = await self._redis.xinfo_groups(self.name)
        return groups


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


def _before(entry_id: str) -> str:
    milliseconds, sequence = _order(entry_id)
    if sequence > 0:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{2**64 - 1}" if milliseconds > 0 else BEGINNING

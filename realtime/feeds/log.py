"""The feeds' logs in Redis: append, read, position. The log is authoritative; messages of the layer are only hints.

The publisher appends; the hub uses the rest. Each change is one Lua script of `realtime/redis/lua/`, so it is atomic.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from realtime.aio.coalesce import TurnBatch
from realtime.conf import RealtimeConf
from realtime.feeds.publication import decode_publication
from realtime.ids import new_epoch
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.pipeline import pipelined
from realtime.redis.replicas import confirmed
from realtime.redis.scripts import Script

_feed_append = Script("feed_append")

_feed_open = Script("feed_open")

_feed_read = Script("feed_read")

_feed_reset_epoch = Script("feed_reset_epoch")

_feed_range = Script("feed_range")

NewEntry = tuple[str, str, bytes]
"""Stream entry id, publication id, encoded publication."""


class Position(msgspec.Struct, frozen=True):
    """A place in a feed: after ``offset`` entries of ``epoch``; ``last_id`` is the id of the last of them."""

    epoch: str
    offset: int
    last_id: str = ""


class LogSlice(msgspec.Struct, frozen=True):
    """The entries of a log after a requested offset.

    ``first`` is the offset of the first entry: the requested offset plus 1, or more if the log was trimmed. ``id_at``
    is the id of the entry at the requested offset, empty if the log does not hold it.
    """

    position: Position
    first: int
    entries: Sequence[bytes]
    id_at: str


class Appended(msgspec.Struct, frozen=True):
    """The place of an appended entry: its offset, or None if it was appended before and its id has expired.

    ``after`` is the id of the publication before it, empty for the first of an epoch; None for a repeated entry.
    """

    epoch: str
    offset: int | None
    after: str | None = None


class FeedLog:
    """The logs of all feeds on one Redis.

    Every method raises `RedisUnavailable` or `RedisDefect`.
    """

    def __init__(self, redis: Redis, conf: RealtimeConf) -> None:
        self._redis = redis
        self._conf = conf
        self._opens: TurnBatch[str, Position] = TurnBatch(self._open_all, "opening feeds in Redis")

    async def append(self, feed: str, topic: str, entries: Sequence[NewEntry]) -> list[Appended]:
        """Append a topic's entries to one feed in one step, all or none.

        Args:
            feed: The feed's name.
            topic: The stream the entries came from; an entry at or before the last one appended from it is a repeat.
            entries: ``(stream entry id, publication id, encoded publication)``, in the stream's order.

        Returns:
            One place for each entry; a repeated entry has the place of its first append.
        """
        [places] = await self.append_all(topic, {feed: entries})
        return places

    async def append_all(self, topic: str, batch: Mapping[str, Sequence[NewEntry]]) -> list[list[Appended]]:
        """Append to many feeds in one round trip. Each feed's entries are appended all or none; feeds can differ.

        With replicas to wait for (`RealtimeConf.redis_replicas`), they have the entries when this returns.
        """
        conf = self._conf
        first: list[str | int] = [
            topic, new_epoch(), conf.feed_publications, conf.feed_bytes,
            conf.feed_seconds, conf.id_seconds, conf.meta_seconds,
        ]  # fmt: skip
        calls: list[tuple[Sequence[str], list[str | bytes | int]]] = [
            (keys.feed(feed), [*first, *(part for entry in entries for part in entry)])
            for feed, entries in batch.items()
        ]
        answers = await _feed_append.run_all(self._redis, calls)
        await confirmed(self._redis, conf.redis_replicas)
        return [_places(answer, entries) for answer, entries in zip(answers, batch.values(), strict=True)]

    async def ensure(self, feed: str) -> Position:
        """Return the feed's position; give a feed without one a new epoch, so that no client receives an empty epoch.

        All calls of one turn of the event loop share one round trip.
        """
        return await self._opens.ask(feed)

    async def _open_all(self, feeds: Sequence[str]) -> Sequence[Position]:
        names = list(dict.fromkeys(feeds))
        calls: list[tuple[Sequence[str], list[str | int]]] = [
            (keys.feed(name), [new_epoch(), self._conf.meta_seconds]) for name in names
        ]
        answers = await _feed_open.run_all(self._redis, calls)
        positions = {name: _position(answer) for name, answer in zip(names, answers, strict=True)}
        return [positions[feed] for feed in feeds]

    async def read(self, feed: str, after: int, limit: int) -> LogSlice:
        """Return at most ``limit`` entries after the offset ``after``, with the log's position at that moment."""
        given: list[str | int] = [new_epoch(), self._conf.meta_seconds, after, limit]
        answer = await _feed_read.run(self._redis, keys.feed(feed)[:2], given)
        *position, first, id_at, entries = answer
        return LogSlice(_position(position), first, entries, decode_publication(id_at).id if id_at else "")

    async def tail(
        self, feed: str, after: Position, up_to: int, max_entries: int, max_bytes: int
    ) -> Sequence[bytes] | None:
        """Return all entries after a position up to an offset, or None if the log cannot give them all.

        The result is None if the epoch differs, the position lies beyond the log or before its first entry, or the
        entries are more than ``max_entries`` or longer than ``max_bytes``.
        """
        of_feed, limits = keys.feed(feed)[:2], [up_to, max_entries, max_bytes]
        entries: list[bytes] | None = await _feed_range.run(self._redis, of_feed, [after.epoch, after.offset, *limits])
        return entries

    async def reset_epoch(self, feed: str, epoch: str) -> Position:
        """Begin a new epoch if ``epoch`` is still the current one; return the position in either case."""
        given: list[str | int] = [epoch, new_epoch(), self._conf.meta_seconds]
        return _position(await _feed_reset_epoch.run(self._redis, keys.feed(feed)[:2], given))

    async def positions(self, feeds: Sequence[str]) -> list[Position | None]:
        """Return the positions of many feeds in one round trip; None for a feed that has none."""
        commands = [("HMGET", keys.feed(feed).meta, "epoch", "offset", "id") for feed in feeds]
        answers = await pipelined(self._redis, commands)
        return [_position(answer) if answer[0] else None for answer in answers]


def _places(answer: Sequence[Any], entries: Sequence[NewEntry]) -> list[Appended]:
    raw_epoch, offsets, offset_before, id_before = answer
    places: list[Appended] = []
    epoch, after = raw_epoch.decode(), id_before.decode()
    for offset, (_, publication_id, _) in zip(offsets, entries, strict=True):
        is_new = offset > offset_before
        places.append(Appended(epoch, offset or None, after if is_new else None))
        if is_new:
            after = publication_id
    return places


def _position(answer: Sequence[Any]) -> Position:
    epoch, offset, last_id = answer
    return Position(epoch.decode(), int(offset or 0), (last_id or b"").decode())

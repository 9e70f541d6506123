"""The cluster at a glance, for the admin's index: who is online, how sockets were closed, how far the relay is behind.

A part whose source is away says so, the others stand; none is waited for longer than `SOURCE_TIMEOUT`.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec
from django.db import connections
from django.db.models import Count

from realtime import database
from realtime.close_codes import meaning_of
from realtime.conf import RealtimeConf
from realtime.exceptions import TryLater
from realtime.models import ConnectionRecord
from realtime.presence.presence import Presence
from realtime.redis.client import Redis, address_of, connect
from realtime.redis.errors import RedisError
from realtime.relay.dead_letters import DeadLetters
from realtime.relay.topic import Topic, relayed_topics

SOURCE_TIMEOUT = 1.5
"""Seconds that a source has to answer in."""
SHOWN = 10
"""Gateways and close codes that are listed; what is left is summed up."""
KEPT_SECONDS = 5.0
"""How long the count of closes is good for whoever asks: over a busy day it isn't free."""
CLOSES_OF = timedelta(days=1)

T = TypeVar("T")


class SourceUnavailable(msgspec.Struct, frozen=True):
    """Instead of a part: why it can't be told."""

    away: str


class Gateway(msgspec.Struct, frozen=True):
    name: str
    connections: int


class Online(msgspec.Struct, frozen=True):
    """Users and connections of the cluster; the ``top`` of its ``gateways`` by connections, the most first."""

    users: int
    connections: int
    gateways: int
    top: list[Gateway]


class Closed(msgspec.Struct, frozen=True):
    code: int
    meaning: str
    count: int


class Closes(msgspec.Struct, frozen=True):
    """Connections that were closed within a day: all, of how many codes, and the commonest of these."""

    total: int
    codes: int
    top: list[Closed]


class TopicLag(msgspec.Struct, frozen=True):
    """A topic: entries that wait for the relay, None where Redis can't tell, and its dead letters."""

    topic: str
    lag: int | None
    dead_letters: int


class Overview(msgspec.Struct, frozen=True):
    """All of it, as the index's module reads it."""

    online: Online | SourceUnavailable
    topics: list[TopicLag] | SourceUnavailable
    closes: Closes | SourceUnavailable


class ClosesByCode:
    """Counts them in a thread of its own, one at a time for all who ask: a database that hangs holds nobody else."""

    def __init__(self, count: Callable[[], Mapping[int, int]] | None = None) -> None:
        self._count = count or _count_closes
        self._asked: Future[Mapping[int, int]] | None = None
        self._good_until = 0.0

    async def latest(self) -> Closes:
        """The closes of the last day, some seconds old at most; raises what the database raises."""
        if self._asked is None or (self._asked.done() and time.monotonic() >= self._good_until):
            self._asked = Future()
            self._asked.set_running_or_notify_cancel()  # so that who gives up waiting ends it for nobody
            threading.Thread(target=self._run, args=(self._asked,), name="closes", daemon=True).start()
        counts = await asyncio.wrap_future(self._asked)
        top = _top(counts.items())
        return Closes(sum(counts.values()), len(counts), [Closed(code, meaning_of(code), n) for code, n in top])

    def _run(self, asked: "Future[Mapping[int, int]]") -> None:
        try:
            counts = self._count()
        except BaseException as error:
            self._good_until = 0.0
            asked.set_exception(error)
        else:
            self._good_until = time.monotonic() + KEPT_SECONDS
            asked.set_result(counts)


async def collect(conf: RealtimeConf, closes: ClosesByCode) -> Overview:
    """Ask all sources at once."""
    redis = connect(conf.redis_url, timeout=SOURCE_TIMEOUT, max_connections=2)
    where = f"Redis at {address_of(conf.redis_url)}"
    try:
        return Overview(
            *await asyncio.gather(
                _or_away(where, _online(redis, conf)),
                _or_away(where, _topics(redis, conf)),
                _or_away("the database", closes.latest()),
            )
        )
    finally:
        await redis.aclose()


async def _or_away(source: str, asking: Awaitable[T]) -> T | SourceUnavailable:
    try:
        async with asyncio.timeout(SOURCE_TIMEOUT):
            return await asking
    except TimeoutError:
        return SourceUnavailable(f"{source} gave no answer within {SOURCE_TIMEOUT:g} s.")
    except TryLater as error:
        return SourceUnavailable(str(error))
    except (RedisError, OSError) as error:
        return SourceUnavailable(f"{source} can't be reached ({error}).")


async def _online(redis: Redis, conf: RealtimeConf) -> Online:
    users, gateways = await Presence(redis, "", conf).gateways()
    top = [Gateway(name, count) for name, count in _top(gateways.items())]
    return Online(users, sum(gateways.values()), len(gateways), top)


async def _topics(redis: Redis, conf: RealtimeConf) -> list[TopicLag]:
    letters = DeadLetters(redis)
    names = sorted({*await relayed_topics(redis), *await letters.topics()})
    return [TopicLag(name, await Topic(redis, name, conf).lag(), await letters.count(name)) for name in names]


K = TypeVar("K", int, str)


def _top(counts: Iterable[tuple[K, int]]) -> list[tuple[K, int]]:
    return sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:SHOWN]


def _count_closes() -> Mapping[int, int]:
    since = datetime.now(UTC) - CLOSES_OF
    try:
        with database.database_access():
            records = ConnectionRecord.objects.filter(closed_at__gte=since, close_code__isnull=False).order_by()
            return dict(records.values_list("close_code").annotate(Count("id")))
    finally:
        connections.close_all()  # the thread ends

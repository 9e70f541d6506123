"""Collect the overview on the admin's index: online users and gateways, the relay's lag, and closes by code.

Each part comes from one source, with a deadline of `SOURCE_TIMEOUT`. If a source is unavailable, only its part fails.
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
from realtime.exceptions import DatabaseUnavailable, RealtimeError
from realtime.models import ConnectionRecord
from realtime.presence.presence import Presence
from realtime.redis.client import Redis, address_of, connect
from realtime.relay.dead_letters import DeadLetters
from realtime.relay.topic import Topic, relayed_topics

SOURCE_TIMEOUT = 1.5
"""Seconds until a source times out."""
SHOWN = 10
"""Most gateways and close codes listed; the totals include the rest."""
KEPT_SECONDS = 5.0
"""How long the count of closes is cached, because counting a busy day is slow."""
CLOSES_OF = timedelta(days=1)

T = TypeVar("T")


class SourceUnavailable(msgspec.Struct, frozen=True):
    """Replaces a part whose source is unavailable; ``away`` says why."""

    away: str


class Gateway(msgspec.Struct, frozen=True):
    name: str
    connections: int


class Online(msgspec.Struct, frozen=True):
    """Users, connections and gateways of the cluster; ``top`` lists the gateways with most connections first."""

    users: int
    connections: int
    gateways: int
    top: list[Gateway]


class Closed(msgspec.Struct, frozen=True):
    code: int
    meaning: str
    count: int


class Closes(msgspec.Struct, frozen=True):
    """Connections closed within a day: their number, the number of different codes, and the most frequent codes."""

    total: int
    codes: int
    top: list[Closed]


class TopicLag(msgspec.Struct, frozen=True):
    """A topic: how many entries wait for the relay (None if Redis does not know), and how many dead letters it has."""

    topic: str
    lag: int | None
    dead_letters: int


class Overview(msgspec.Struct, frozen=True):
    """The whole overview, as the script on the admin's index reads it."""

    online: Online | SourceUnavailable
    topics: list[TopicLag] | SourceUnavailable
    closes: Closes | SourceUnavailable


class ClosesByCode:
    """Counts closes in a separate thread, one count at a time for all requests: a hanging database blocks only this."""

    def __init__(self, count: Callable[[], Mapping[int, int]] | None = None) -> None:
        self._count = count or _count_closes
        self._asked: Future[Mapping[int, int]] | None = None
        self._good_until = 0.0

    async def latest(self) -> Closes:
        """Return the closes of the last day, at most `KEPT_SECONDS` old; raises what the database raises."""
        if self._asked is None or (self._asked.done() and time.monotonic() >= self._good_until):
            self._asked = Future()
            self._asked.set_running_or_notify_cancel()  # a request that times out must not cancel it for the others
            threading.Thread(target=self._run, args=(self._asked,), name="closes", daemon=True).start()
        counts = await asyncio.wrap_future(self._asked)
        top = _top(counts.items())
        return Closes(sum(counts.values()), len(counts), [Closed(code, meaning_of(code), n) for code, n in top])

    def _run(self, asked: "Future[Mapping[int, int]]") -> None:
        try:
            counts = self._count()
        except BaseException as error:  # passed on to those who wait in another thread
            self._good_until = 0.0
            asked.set_exception(error)
        else:
            self._good_until = time.monotonic() + KEPT_SECONDS
            asked.set_result(counts)


async def collect(conf: RealtimeConf, closes: ClosesByCode) -> Overview:
    """Query all sources concurrently."""
    async with connect(conf.redis_url, timeout=SOURCE_TIMEOUT, max_connections=2) as redis:
        where = f"Redis at {address_of(conf.redis_url)}"
        return Overview(
            *await asyncio.gather(
                _or_away(where, _online(redis, conf)),
                _or_away(where, _topics(redis, conf)),
                _or_away("the database", closes.latest()),
            )
        )


async def _or_away(source: str, asking: Awaitable[T]) -> T | SourceUnavailable:
    try:
        async with asyncio.timeout(SOURCE_TIMEOUT):
            return await asking
    except TimeoutError:
        return SourceUnavailable(f"{source} did not answer within {SOURCE_TIMEOUT:g} s.")
    except DatabaseUnavailable as error:
        return SourceUnavailable(str(error))
    except RealtimeError as error:
        return SourceUnavailable(f"{source} is unavailable ({error}).")


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
        connections.close_all()  # they belong to this thread, which ends now

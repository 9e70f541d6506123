"""A topic's relay loop: acquire the lease, read a batch, deliver it, commit the cursor. The order is kept.

A batch is committed only after it was delivered. The next batch is read and prepared in the meantime. A transient
failure is retried in place; an entry that can never succeed, judged from its bytes, becomes a dead letter.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from realtime.aio import tasks
from realtime.conf import RealtimeConf
from realtime.exceptions import LeaseLost, PoisonEntry, TransientError
from realtime.feeds.publication import Publication
from realtime.observability import metrics, tracing
from realtime.redis.client import Redis
from realtime.relay.lease import Lease
from realtime.relay.publisher import Publisher, Routed
from realtime.relay.topic import RawEntry, Topic
from realtime.relay.watermill import Entry, parse

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0

SPREAD_SECONDS = 10.0
"""How long a relay holds a topic before it yields the topic to the preferred relay."""

TRIM_SECONDS = 30.0

SAY_AGAIN_SECONDS = 10.0
"""How often a lasting failure is logged again."""

T = TypeVar("T")

Prepare = Callable[[str, Mapping[bytes, bytes]], Sequence[T]]
"""Turns an entry's id and raw fields into items for the sink; raises `PoisonEntry`."""

Sink = Callable[[Sequence[T]], Awaitable[object]]
"""Delivers the items of a batch, in order. Safe to repeat as a whole."""

Route = Callable[[Entry], Sequence[tuple[str, Publication]]]
"""Returns the publications of an entry, each with its feed; raises `PoisonEntry`."""


def to_feeds(topic: str, route: Route, publisher: Publisher) -> tuple[Prepare[Routed], Sink[Routed]]:
    """Return a worker's ``prepare`` and ``sink`` that publish the publications ``route`` returns for each entry."""

    def prepare(entry_id: str, fields: Mapping[bytes, bytes]) -> Sequence[Routed]:
        entry = parse(entry_id, fields)
        parent = tracing.current.parent_of(entry.metadata)
        return [Routed(entry_id, feed, publication, parent) for feed, publication in route(entry)]

    async def sink(batch: Sequence[Routed]) -> None:
        with tracing.current.relay(topic, batch) as parents:
            await publisher.publish(topic, batch, parents)

    return prepare, sink


@dataclass(frozen=True, slots=True)
class _Batch(Generic[T]):
    last: str
    length: int
    prepared: Sequence[T]
    poison: Sequence[tuple[RawEntry, str]]


class TopicWorker(Generic[T]):
    """Relays one topic while it holds the topic's lease; otherwise it waits for the lease.

    ``name`` is the relay's name. If several relays serve a topic, the preferred holder is the one at index ``number``,
    modulo their count, of their sorted names; so topics spread over relays. Another holder yields to it after a while.
    """

    def __init__(
        self, redis: Redis, topic: Topic, prepare: Prepare[T], sink: Sink[T], conf: RealtimeConf,
        *, name: str, number: int = 0,
    ) -> None:  # fmt: skip
        self.topic = topic
        self.relayed = 0
        self.committed = ""
        """The cursor that this worker last read or committed."""
        self._prepare = prepare
        self._sink = sink
        self._name = name
        self._number = number
        self._lease = Lease(redis, topic.name, conf.relay_lease_seconds, name)
        self._most = conf.relay_batch
        self._third = conf.relay_lease_seconds / 3
        self._stopping = asyncio.Event()
        self._trimmed = 0.0

    def stop(self) -> None:
        """Finish the current batch, then end."""
        self._stopping.set()

    async def run(self) -> None:
        """Relay, or wait for the lease, until `stop`."""
        wait, said = FIRST_WAIT, -SAY_AGAIN_SECONDS
        while not self._stopping.is_set():
            try:
                await self._lease.announce()
                token = await self._lease.take()
                if token:
                    await self._relay(token)
                wait, said = FIRST_WAIT, -SAY_AGAIN_SECONDS
                await self._pause(self._third)
            except Exception as error:  # every error is retried: the relay must not stop
                longest = LONGEST_WAIT
                metrics.relay_retries.labels(self.topic.name).inc()
                if isinstance(error, TransientError):
                    if time.monotonic() - said >= SAY_AGAIN_SECONDS:
                        said = time.monotonic()
                        logger.warning("%s: relaying failed, retrying: %s", self.topic.name, error or repr(error))
                    longest = self._third  # a waiting relay has to take over soon after the lease expires
                else:
                    logger.exception("%s: relaying failed, retrying in %.1f s", self.topic.name, wait)
                await self._pause(wait)
                wait = min(2 * wait, longest)
        try:
            await self._lease.give_back()
            await self._lease.sign_out()
        except TransientError as error:
            logger.warning("%s: the lease could not be released: %s", self.topic.name, error)

    async def _relay(self, token: int) -> None:
        cursor = self.committed = await self.topic.start()
        since = looked = time.monotonic()
        logger.info("%s: relaying from %s", self.topic.name, cursor)
        metrics.relay_lease.labels(self.topic.name).set(1)
        reading = self._read_ahead(cursor)
        try:
            while not self._stopping.is_set() and await self._lease.take() == token:
                batch = await reading
                reading = self._read_ahead(batch.last if batch else cursor)
                if batch:
                    await self._deliver(token, batch)
                    if not await self.topic.commit(token, cursor, batch.last, batch.length):
                        break
                    cursor = self.committed = batch.last
                    self.relayed += batch.length
                    metrics.relayed.labels(self.topic.name).inc(batch.length)
                if time.monotonic() - looked >= self._third:
                    looked = time.monotonic()
                    await self._look_after(cursor)
                    if looked - since >= SPREAD_SECONDS and await self._yield_to_preferred():
                        return
            else:
                if self._stopping.is_set():
                    return
            logger.info("%s: another relay has taken over", self.topic.name)
        finally:
            metrics.relay_lease.labels(self.topic.name).set(0)
            await tasks.end([reading])

    def _read_ahead(self, cursor: str) -> asyncio.Task[_Batch[T] | None]:
        return tasks.start(self._read(cursor), f"reading {self.topic.name}")

    async def _read(self, cursor: str) -> _Batch[T] | None:
        """Return the next batch; None if no entry came within a third of the lease."""
        entries = await self.topic.read(cursor, self._most, int(self._third * 1000))
        if not entries:
            return None
        prepared: list[T] = []
        poison: list[tuple[RawEntry, str]] = []
        for entry in entries:
            try:
                prepared += self._prepare(*entry)
            except PoisonEntry as error:
                poison.append((entry, str(error)))
        return _Batch(entries[-1][0], len(entries), prepared, poison)

    async def _look_after(self, cursor: str) -> None:
        await self._lease.announce()
        await self.topic.look_for_losses(cursor)
        if self.topic.is_ours and time.monotonic() - self._trimmed >= TRIM_SECONDS:
            self._trimmed = time.monotonic()
            await self.topic.trim(cursor)

    async def _yield_to_preferred(self) -> bool:
        """If another relay is preferred, release the lease, pause for one lease and return True."""
        relays = await self._lease.announce()
        rightful = relays[self._number % len(relays)]
        if rightful == self._name:
            return False
        logger.info("%s: yielding the topic to relay %s", self.topic.name, rightful)
        await self._lease.give_back()
        await self._pause(3 * self._third)
        return True

    async def _deliver(self, token: int, batch: _Batch[T]) -> None:
        if batch.prepared:
            await self._deliver_with_retry(token, batch)
        for entry, reason in batch.poison:
            await self.topic.dead_letter(entry, reason)
            metrics.dead_letters.labels(self.topic.name).inc()

    async def _deliver_with_retry(self, token: int, batch: _Batch[T]) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                await self._sink(batch.prepared)
                return
            except TransientError as error:
                if self._stopping.is_set():
                    raise
                metrics.relay_retries.labels(self.topic.name).inc()
                logger.warning(
                    "%s: retrying the batch that ends with %s in %.1f s: %s",
                    self.topic.name, batch.last, wait, error,
                )  # fmt: skip
            until = time.monotonic() + wait
            while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
                if await self._lease.take() != token:
                    raise LeaseLost("another relay has taken over")
                await self._pause(min(left, self._third))
            wait = min(2 * wait, LONGEST_WAIT)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

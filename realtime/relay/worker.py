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
from realtime.aio.backoff import Backoff
from realtime.aio.waiting import wait_event
from realtime.conf import RealtimeConf
from realtime.exceptions import LeaseLost, PoisonEntry, RedisRefused, TransientError
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
"""How long at least a relay keeps a topic, before it yields the topic to the preferred relay."""

TRIM_SECONDS = 30.0

REPORT_SECONDS = 10.0
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

    ``name`` is the relay's name. If several relays serve a topic, the preferred one is
    ``sorted(relays)[number % len(relays)]``. Topics have different numbers, so they spread over the relays.
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
        self._batch_limit = conf.relay_batch
        self._third = conf.relay_lease_seconds / 3
        self._stopping = asyncio.Event()
        self._trimmed = 0.0

    def stop(self) -> None:
        """Finish the current batch, then end."""
        self._stopping.set()

    async def run(self) -> None:
        """Relay, or wait for the lease, until `stop`."""
        backoff, reported_at = Backoff(FIRST_WAIT, LONGEST_WAIT), -REPORT_SECONDS
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            wait, began = self._third, loop.time()
            try:
                await self._relay_if_leased()
                backoff.reset()
                reported_at = -REPORT_SECONDS
            except TransientError as error:
                metrics.relay_retries.labels(self.topic.name).inc()
                is_refused = isinstance(error, RedisRefused)
                metrics.relay_refused.labels(self.topic.name).set(is_refused)
                if time.monotonic() - reported_at >= REPORT_SECONDS:
                    reported_at = time.monotonic()
                    what = "Redis refuses writes, so no relay can hold the topic" if is_refused else "relaying failed"
                    logger.warning("%s: %s, retrying: %s", self.topic.name, what, error)
                wait = min(backoff.take(), self._third)  # a standby has to take over soon after a lease expires
            except Exception:  # it supervises the topic: the relay must not stop
                metrics.relay_retries.labels(self.topic.name).inc()
                wait = backoff.take()
                logger.exception("%s: relaying failed, retrying in %.1f s", self.topic.name, wait)
            if loop.time() - began >= tasks.HEALTHY_SECONDS:
                backoff.reset()
            await wait_event(self._stopping, wait)
        await self._release()

    async def _release(self) -> None:
        try:
            await self._lease.give_back()
            await self._lease.sign_out()
        except TransientError as error:
            logger.warning("%s: the lease could not be released: %s", self.topic.name, error)

    async def _relay_if_leased(self) -> None:
        await self._lease.announce()
        token = await self._lease.take()
        metrics.relay_refused.labels(self.topic.name).set(0)
        if not token:
            return
        metrics.relay_lease.labels(self.topic.name).set(1)
        try:
            await self._relay(token)
        except LeaseLost:
            logger.info("%s: the lease was lost: it expired, or another relay has taken over", self.topic.name)
        finally:
            metrics.relay_lease.labels(self.topic.name).set(0)

    async def _relay(self, token: int) -> None:
        """Relay until `stop`, or until the topic is yielded to the relay that should hold it; raises `LeaseLost`."""
        cursor = self.committed = await self.topic.start()
        logger.info("%s: relaying from %s", self.topic.name, cursor)
        started = maintained = time.monotonic()
        reading = self._read_ahead(cursor)
        try:
            while not self._stopping.is_set():
                await self._require_lease(token)
                batch = await reading
                reading = self._read_ahead(batch.last if batch else cursor)
                if batch:
                    await self._deliver(token, batch)
                    await self._commit(token, cursor, batch)
                    cursor = batch.last
                if time.monotonic() - maintained >= self._third:
                    maintained = time.monotonic()
                    await self._maintain(cursor)
                    if maintained - started >= SPREAD_SECONDS and await self._yield_to_preferred():
                        return
        finally:
            await tasks.end([reading])

    async def _require_lease(self, token: int) -> None:
        if await self._lease.take() != token:
            raise LeaseLost("the lease was lost")

    async def _commit(self, token: int, cursor: str, batch: _Batch[T]) -> None:
        if not await self.topic.commit(token, cursor, batch.last, batch.length):
            raise LeaseLost("the lease was lost")
        self.committed = batch.last
        self.relayed += batch.length
        metrics.relayed.labels(self.topic.name).inc(batch.length)

    def _read_ahead(self, cursor: str) -> asyncio.Task[_Batch[T] | None]:
        return tasks.start(self._read(cursor), f"reading {self.topic.name}")

    async def _read(self, cursor: str) -> _Batch[T] | None:
        """Return the next batch; None if no entry came within a third of the lease."""
        entries = await self.topic.read(cursor, self._batch_limit, int(self._third * 1000))
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

    async def _maintain(self, cursor: str) -> None:
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
        await wait_event(self._stopping, 3 * self._third)
        return True

    async def _deliver(self, token: int, batch: _Batch[T]) -> None:
        if batch.prepared:
            await self._deliver_with_retry(token, batch)
        for entry, reason in batch.poison:
            await self.topic.dead_letter(entry, reason)
            metrics.dead_letters.labels(self.topic.name).inc()
        if batch.poison:
            await self.topic.bound_dead_letters()

    async def _deliver_with_retry(self, token: int, batch: _Batch[T]) -> None:
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
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
                    self.topic.name, batch.last, min(backoff.wait, self._third), error,
                )  # fmt: skip
            await self._wait_with_lease(token, min(backoff.take(), self._third))  # deliver soon after the failure ends

    async def _wait_with_lease(self, token: int, seconds: float) -> None:
        """Wait, or until `stop`, and keep the lease meanwhile; raises `LeaseLost`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            await self._require_lease(token)
            await wait_event(self._stopping, min(left, self._third))

"""Transactional outbox: events commit with their change; a publisher moves them to streams, in order, at least once.

Rows are read in key order and deleted once they are in the stream. Within a chat group key order is commit order. Only
the holder of the lease writes. The writing script checks the lease, so an earlier holder cannot write late.
"""

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress

import msgspec
from django.db import transaction

from chatws.reference import threads
from chatws.reference.models import OutboxEvent
from realtime.aio.backoff import Backoff
from realtime.aio.waiting import wait_event
from realtime.ids import new_node_name
from realtime.observability import metrics, tracing
from realtime.redis.client import Redis
from realtime.redis.replicas import confirmed
from realtime.relay.lease import Lease
from realtime.relay.watermill import encode

logger = logging.getLogger(__name__)

BATCH = 200
PROBE_BYTES = 8_192
"""More than a page, so that the probe needs new space."""
POLL_SECONDS = 0.25
LEASE_SECONDS = 3.0
LONGEST_WAIT = 1.0
"""Seconds between two attempts while Redis is unavailable: events must not wait long once it is back."""


def event(topic: str, payload: dict[str, object], metadata: dict[str, str] | None = None) -> OutboxEvent:
    """Return an event; without ``metadata`` it gets the current span's."""
    if metadata is None:
        metadata = tracing.current.entry_metadata()
    return OutboxEvent(
        uuid=uuid.uuid4(), topic=topic, payload=msgspec.json.encode(payload).decode(),
        metadata=msgspec.json.encode(metadata).decode() if metadata else "",
    )  # fmt: skip


def add(events: Iterable[OutboxEvent]) -> None:
    """Store events; call it in the transaction of their change."""
    OutboxEvent.objects.bulk_create(events)


@transaction.atomic
def try_to_write() -> None:
    """Raise what the database raises if it has no space or takes no writes; leave nothing behind."""
    probe = event("probe", {"bytes": secrets.token_hex(PROBE_BYTES)}, {})
    probe.save()
    probe.delete()


class OutboxPublisher:
    """Moves events to their streams. Several may run; one at a time holds the lease and publishes.

    An event stays in the database until so many ``replicas`` of Redis have it.
    """

    def __init__(self, redis: Redis, replicas: int = 0) -> None:
        self._redis = redis
        self._replicas = replicas
        self._lease = Lease(redis, "reference-outbox", LEASE_SECONDS, new_node_name())
        self._taken: float | None = None
        """When the lease was last taken, by the monotonic clock; None without it."""
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Publish now instead of at the next poll, because this process committed an event."""
        self._news.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        backoff = Backoff(POLL_SECONDS, LONGEST_WAIT)
        while True:
            try:
                self._news.clear()
                while await self._has_lease() and await self.publish_some() == BATCH:
                    pass
                backoff.reset()
                metrics.waiting_events.set(0)
            except Exception as error:  # it supervises publishing, over a database and Redis
                logger.warning("events could not be published, retrying in %.1f s: %s", backoff.wait, error)
                await self._count_waiting()
                await backoff.sleep()
            await wait_event(self._news, POLL_SECONDS)

    async def _count_waiting(self) -> None:
        with suppress(Exception):  # the database may be the reason why nothing can be published
            metrics.waiting_events.set(await threads.read(OutboxEvent.objects.count))

    async def _has_lease(self) -> bool:
        """Take or renew the lease, at most once in a third of its length, because the write checks it, too."""
        now = time.monotonic()
        if self._taken is None or now - self._taken >= LEASE_SECONDS / 3:
            self._taken = now if await self._lease.take() else None
        return self._taken is not None

    async def publish_some(self) -> int:
        """Publish one batch; return how many events it had."""
        events = await threads.read(_next_events)
        if events:
            entries = [(event.topic, _entry(event)) for event in events]
            if not await self._lease.publish(entries):
                self._taken = None
                return 0
            await confirmed(self._redis, self._replicas)
            await threads.write(_delete, [event.pk for event in events])
        return len(events)


def _entry(event: OutboxEvent) -> dict[bytes, bytes]:
    metadata = msgspec.json.decode(event.metadata, type=dict[str, str]) if event.metadata else {}
    return encode(event.payload.encode(), metadata, str(event.uuid))


def _next_events() -> list[OutboxEvent]:
    return list(OutboxEvent.objects.order_by("pk")[:BATCH])


def _delete(keys: list[int]) -> None:
    OutboxEvent.objects.filter(pk__in=keys).delete()

"""Transactional outbox: an event commits with its row; a publisher moves it to its stream, in order, at least once.

Rows are read in key order and deleted once they are in the stream. Within a chat group key order is commit order. Only
who holds the lease writes, which the writing script itself checks: a batch of an earlier holder can't come late.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable

import msgspec

from chatws.reference import threads
from chatws.reference.models import OutboxEvent
from realtime.ids import new_node_name
from realtime.observability import tracing
from realtime.redis.client import Redis
from realtime.relay.lease import Lease
from realtime.relay.watermill import encode

logger = logging.getLogger(__name__)

BATCH = 200
POLL_SECONDS = 0.25
LEASE_SECONDS = 3.0
LONGEST_WAIT = 5.0


def event(topic: str, payload: dict[str, object], metadata: dict[str, str] | None = None) -> OutboxEvent:
    """An event, in the present span unless its metadata is given."""
    if metadata is None:
        metadata = tracing.current.entry_metadata()
    return OutboxEvent(
        uuid=uuid.uuid4(), topic=topic, payload=msgspec.json.encode(payload).decode(),
        metadata=msgspec.json.encode(metadata).decode() if metadata else "",
    )  # fmt: skip


def add(events: Iterable[OutboxEvent]) -> None:
    """Record events; called in the transaction of what they tell of."""
    OutboxEvent.objects.bulk_create(events)


class OutboxPublisher:
    """Moves events to their streams. Several may run; one at a time does the work."""

    def __init__(self, redis: Redis) -> None:
        self._lease = Lease(redis, "reference-outbox", LEASE_SECONDS, new_node_name())
        self._taken: float | None = None
        """When, by the monotonic clock, the lease was last had."""
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Something was committed in this process: don't wait for the next poll."""
        self._news.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        wait = POLL_SECONDS
        while True:
            try:
                self._news.clear()
                while await self._has_lease() and await self.publish_some() == BATCH:
                    pass
                wait = POLL_SECONDS
            except Exception as error:
                logger.warning("events can't be published now, trying again in %.1f s: %s", wait, error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _has_lease(self) -> bool:
        """Take it or keep it; asked again after a third of it only, for the write checks it too."""
        now = time.monotonic()
        if self._taken is None or now - self._taken >= LEASE_SECONDS / 3:
            self._taken = now if await self._lease.take() else None
        return self._taken is not None

    async def publish_some(self) -> int:
        """Publish one batch; how many events it held."""
        events = await threads.read(_next_events)
        if events:
            entries = [(event.topic, _entry(event)) for event in events]
            if not await self._lease.publish(entries):
                self._taken = None
                return 0
            await threads.write(_delete, [event.pk for event in events])
        return len(events)


def _entry(event: OutboxEvent) -> dict[bytes, bytes]:
    metadata = msgspec.json.decode(event.metadata, type=dict[str, str]) if event.metadata else {}
    return encode(event.payload.encode(), metadata, str(event.uuid))


def _next_events() -> list[OutboxEvent]:
    return list(OutboxEvent.objects.order_by("pk")[:BATCH])


def _delete(keys: list[int]) -> None:
    OutboxEvent.objects.filter(pk__in=keys).delete()

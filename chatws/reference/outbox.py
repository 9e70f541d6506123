"""Transactional outbox: an event commits with its row; a publisher moves it to its stream, in order, at least once.

Rows are read in key order and deleted once they are in the stream. Within a chat group key order is commit order. Only
who holds the lease writes, which the writing script itself checks: a batch of an earlier holder can't come late.
"""

import asyncio
import logging
import uuid

import msgspec

from chatws.reference import threads
from chatws.reference.models import OutboxEvent
from realtime import tracing
from realtime.ids import new_node_name
from realtime.redis import Redis
from realtime.relay.entry import encode
from realtime.relay.lease import Lease

logger = logging.getLogger(__name__)

BATCH = 200
POLL_SECONDS = 0.25
LEASE_SECONDS = 3.0
LONGEST_WAIT = 5.0


def add(topic: str, payload: dict[str, object]) -> None:
    """Record an event; called in the transaction of what it tells of."""
    given = tracing.current.entry_metadata()
    OutboxEvent.objects.create(
        uuid=uuid.uuid4(), topic=topic, payload=msgspec.json.encode(payload).decode(),
        metadata=msgspec.json.encode(given).decode() if given else "",
    )  # fmt: skip


class OutboxPublisher:
    """Moves events to their streams. Several may run; one at a time does the work."""

    def __init__(self, redis: Redis) -> None:
        self._lease = Lease(redis, "reference-outbox", LEASE_SECONDS, new_node_name())
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
                while await self._lease.take() and await self.publish_some() == BATCH:
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

    async def publish_some(self) -> int:
        """Publish one batch; how many events it held."""
        events = await threads.read(_next_events)
        if events:
            entries = [(event.topic, _entry(event)) for event in events]
            if not await self._lease.publish(entries):
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

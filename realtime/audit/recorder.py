"""Record the events of connections: a gateway appends them to a stream.

The relay writes them to the database in bulk, so that an unavailable database delays only the audit.
"""

import asyncio
import logging
import time
from collections import deque

import msgspec

from realtime.aio.bucket import KeyedBuckets, bucket_of
from realtime.audit.events import FIELD, Authenticated, Closed, Event, Opened
from realtime.conf import RealtimeConf
from realtime.exceptions import TransientError
from realtime.observability import metrics
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.pipeline import pipelined

logger = logging.getLogger(__name__)


BATCH = 500

GATHER_SECONDS = 0.05
"""How long events are collected into a batch: a round trip on each turn of the loop would slow accepting down."""

MAX_WAITING = 50_000
"""Most events that wait for Redis. The oldest are dropped."""
USER_BURST = 100
"""How many connections of one user are recorded at once, before the limit by the hour."""
MAX_EVENT_BYTES = 1_024
"""More than the longest event takes in the stream: a user agent and an address are cut before they come here."""


_encoder = msgspec.msgpack.Encoder()


class Audit:
    """Collects a gateway's events without waiting; a background task appends them to the stream."""

    def __init__(self, redis: Redis, node: str, conf: RealtimeConf) -> None:
        self._redis = redis
        self._node = node
        self._max_entries = max(1, conf.audit_bytes // MAX_EVENT_BYTES)
        self._strangers = bucket_of(conf.audit_unauthenticated_per_minute / 60, 60)
        per_hour = conf.audit_per_user_per_hour
        self._users = KeyedBuckets(per_hour / 3600, USER_BURST / per_hour * 3600 if per_hour else 0)
        self._unrecorded: dict[str, Opened | None] = {}
        """Live connections without a record: they may still authenticate, or their user is over its limit (None)."""
        self._is_dropping = False
        self._waiting: deque[Event] = deque(maxlen=MAX_WAITING)
        self._news = asyncio.Event()

    def opened(self, connection_id: str, *, address: str, user_agent: str, is_authenticated: bool) -> None:
        """Record that a socket was accepted.

        Anybody can open sockets, and each record is stored for months. So there is a limit of sockets that are recorded
        without a valid token. Over it, and with a token, a socket is recorded when it authenticates, within the limit
        of its user, or never.
        """
        event = Opened(
            connection_id=connection_id, node=self._node, at=time.time(), address=address, user_agent=user_agent
        )
        if is_authenticated or (self._strangers is not None and self._strangers.take(1, time.monotonic())):
            self._unrecorded[connection_id] = event
        else:
            self._add(event)

    def authenticated(self, connection_id: str, *, user_id: int, way: str) -> None:
        """Record that a socket was authenticated; ``way`` is how its token came."""
        if unrecorded := self._unrecorded.get(connection_id):
            if self._users.take(str(user_id), 1, time.monotonic()):
                metrics.audit_dropped.labels("user").inc()
                self._unrecorded[connection_id] = None
                return
            del self._unrecorded[connection_id]
            self._add(unrecorded)
        self._add(Authenticated(connection_id=connection_id, node=self._node, at=time.time(), user_id=user_id, way=way))

    def closed(
        self, connection_id: str, *, code: int, frames_in: int, frames_out: int, bytes_in: int, bytes_out: int
    ) -> None:
        """Record that a socket was closed."""
        if connection_id in self._unrecorded:
            if self._unrecorded.pop(connection_id):
                metrics.audit_dropped.labels("unauthenticated").inc()
            return
        self._add(
            Closed(
                connection_id=connection_id, node=self._node, at=time.time(), code=code, frames_in=frames_in,
                frames_out=frames_out, bytes_in=bytes_in, bytes_out=bytes_out,
            )
        )  # fmt: skip

    async def run(self) -> None:
        """Append events as they come, until cancelled."""
        if self._waiting:  # it failed before and was started again
            self._news.set()
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._news.clear()
            try:
                await self._flush()
            except TransientError as error:
                logger.warning("audit events could not be written, %d waiting: %s", len(self._waiting), error)
                await asyncio.sleep(1)
                self._news.set()

    async def stop(self) -> None:
        """Append the remaining events."""
        try:
            await self._flush()
        except TransientError as error:
            logger.warning("%d audit events were lost: %s", len(self._waiting), error)

    def _add(self, event: Event) -> None:
        if len(self._waiting) == MAX_WAITING:
            metrics.audit_dropped.labels("waiting").inc()
            if not self._is_dropping:
                logger.error("audit events are dropped: %d are waiting for Redis", MAX_WAITING)
            self._is_dropping = True
        self._waiting.append(event)
        self._news.set()

    async def _flush(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            adding = ("XADD", keys.audit_stream(), "MAXLEN", "~", self._max_entries, "*", FIELD)
            try:
                await pipelined(self._redis, [(*adding, _encoder.encode(event)) for event in some])
            except BaseException:  # also a cancellation
                self._waiting.extendleft(reversed(some))
                raise
            self._is_dropping = False

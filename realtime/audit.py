"""The connection audit's way: gateways append events to a stream, the relay writes them to the database in bulk.

Off the gateway's path: a database that is away delays the audit and nothing else.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from asgiref.sync import sync_to_async

from realtime import database
from realtime.close_codes import CloseCode
from realtime.conf import RealtimeConf
from realtime.exceptions import PoisonEntry, TryLater
from realtime.models import ConnectionRecord
from realtime.presence import Presence
from realtime.redis.client import Redis
from realtime.redis.errors import is_transient
from realtime.redis.pipeline import pipelined

logger = logging.getLogger(__name__)

AUDIT_STREAM = "chatws:audit"
BATCH = 500
GATHER_SECONDS = 0.05
"""How long an event waits for others to go with it, for a round trip each turn of the loop slows accepting down."""
MOST_WAITING = 50_000
_FIELD = b"event"


class _Event(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    connection_id: str
    node: str
    at: float


class Opened(_Event, frozen=True, tag="opened", kw_only=True):
    """A socket was accepted."""

    address: str
    user_agent: str


class Authenticated(_Event, frozen=True, tag="authenticated", kw_only=True):
    """A socket has a user."""

    user_id: int
    way: str


class Closed(_Event, frozen=True, tag="closed", kw_only=True):
    """A socket is gone; frames and bytes from the client (in) and to it (out)."""

    code: int
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int


Event = Opened | Authenticated | Closed
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Event)


class Audit:
    """A gateway's side: its calls never wait; a background task appends what they said to the stream."""

    def __init__(self, redis: Redis, node: str, conf: RealtimeConf) -> None:
        self._redis = redis
        self._node = node
        self._longest = conf.audit_entries
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()

    def opened(self, connection_id: str, *, address: str, user_agent: str) -> None:
        """A socket was accepted."""
        self._add(
            Opened(connection_id=connection_id, node=self._node, at=time.time(), address=address, user_agent=user_agent)
        )

    def authenticated(self, connection_id: str, *, user_id: int, way: str) -> None:
        """A socket has a user; ``way`` is how its token came."""
        self._add(Authenticated(connection_id=connection_id, node=self._node, at=time.time(), user_id=user_id, way=way))

    def closed(
        self, connection_id: str, *, code: int, frames_in: int, frames_out: int, bytes_in: int, bytes_out: int
    ) -> None:
        """A socket is gone."""
        self._add(
            Closed(
                connection_id=connection_id, node=self._node, at=time.time(), code=code, frames_in=frames_in,
                frames_out=frames_out, bytes_in=bytes_in, bytes_out=bytes_out,
            )
        )  # fmt: skip

    async def run(self) -> None:
        """Append events as they come, until cancelled."""
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._news.clear()
            try:
                await self._flush()
            except Exception as error:
                if not is_transient(error):
                    raise
                logger.warning("the audit waits, %d events so far: %s", len(self._waiting), error)
                await asyncio.sleep(1)
                self._news.set()

    async def stop(self) -> None:
        """Append what is left."""
        try:
            await self._flush()
        except Exception as error:
            logger.warning("%d audit events are lost: %s", len(self._waiting), error)

    def _add(self, event: Event) -> None:
        if len(self._waiting) == MOST_WAITING:
            logger.error("an audit event is lost: %d wait for Redis", MOST_WAITING)
        self._waiting.append(event)
        self._news.set()

    async def _flush(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            adding = ("XADD", AUDIT_STREAM, "MAXLEN", "~", self._longest, "*", _FIELD)
            try:
                await pipelined(self._redis, [(*adding, _encoder.encode(event)) for event in some])
            except BaseException:
                self._waiting.extendleft(reversed(some))
                raise


def parse(entry_id: str, fields: Mapping[bytes, bytes]) -> Sequence[Event]:
    """The event of an entry of the audit's stream.

    Raises:
        PoisonEntry: no event, or one that can't be read.
    """
    try:
        return [_decoder.decode(fields.get(_FIELD, b""))]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PoisonEntry(f"event: {error}") from None


async def database_sink(events: Sequence[Event]) -> None:
    """Write events to the database, in bulk; safe to repeat.

    Raises:
        TryLater: the database is away.
    """
    await sync_to_async(write, thread_sensitive=False)(events)


def write(events: Sequence[Event]) -> None:
    """What `database_sink` does, in the calling thread."""
    ids = {event.connection_id for event in events}
    with database.waiting_for_it():
        records = ConnectionRecord.objects.in_bulk(ids, field_name="connection_id")
        for event in events:
            record = records.get(event.connection_id)
            if record is None:
                record = records[event.connection_id] = ConnectionRecord(
                    connection_id=event.connection_id, node=event.node, opened_at=_time(event)
                )
            _apply(record, event)
        for record in records.values():
            record.pk = (
                None  # the connection's id says which row it is; one by its key takes bulk_update 20 times as long
            )
        ConnectionRecord.objects.bulk_create(
            records.values(),
            update_conflicts=True,
            unique_fields=["connection_id"],
            update_fields=ConnectionRecord.LATER,
        )


class Reaper:
    """Closes the records, and takes off the presence, of gateways that died. Runs beside the relay."""

    def __init__(self, redis: Redis, conf: RealtimeConf) -> None:
        self._presence = Presence(redis, "", conf)
        self._every = conf.presence_seconds / 3
        self._grace = conf.presence_seconds
        self._missing_since: dict[str, float] = {}

    async def run(self) -> None:
        """Look regularly, until cancelled."""
        while True:
            try:
                await self.reap()
            except Exception as error:
                if not (is_transient(error) or isinstance(error, TryLater)):
                    raise
                self._missing_since.clear()  # what can't be asked can't be missing
                logger.warning("connections of dead gateways can't be closed now: %s", error)
            await asyncio.sleep(self._every)

    async def reap(self) -> int:
        """Close the records of gateways that have been missing for one lease; how many."""
        live = await self._presence.live_nodes()
        missing = await sync_to_async(_nodes_with_open_records, thread_sensitive=False)() - live
        now = time.monotonic()
        self._missing_since = {node: self._missing_since.get(node, now) for node in missing}
        dead = [node for node, since in self._missing_since.items() if now - since >= self._grace]
        if not dead:
            return 0
        await self._presence.sweep()
        return await sync_to_async(_close_records, thread_sensitive=False)(dead)


def _apply(record: ConnectionRecord, event: Event) -> None:
    if isinstance(event, Opened):
        record.opened_at = _time(event)
        record.address = _clean(event.address, 64)
        record.user_agent = _clean(event.user_agent, 512)
    elif isinstance(event, Authenticated):
        record.user_id = event.user_id
        record.way = event.way
        record.authenticated_at = _time(event)
    else:
        record.closed_at = _time(event)
        record.close_code = event.code
        record.frames_in, record.frames_out = event.frames_in, event.frames_out
        record.bytes_in, record.bytes_out = event.bytes_in, event.bytes_out


def _nodes_with_open_records() -> set[str]:
    with database.waiting_for_it():
        nodes = ConnectionRecord.objects.filter(closed_at=None).order_by().values_list("node", flat=True).distinct()
        return set(nodes)


def _close_records(nodes: Sequence[str]) -> int:
    with database.waiting_for_it():
        records = ConnectionRecord.objects.filter(closed_at=None, node__in=nodes)
        count = records.update(closed_at=datetime.now(UTC), close_code=CloseCode.ABNORMAL)
    logger.warning("closed %d connection records of gateways that are gone: %s", count, ", ".join(nodes))
    return count


def _time(event: Event) -> datetime:
    return datetime.fromtimestamp(event.at, UTC)


def _clean(text: str, length: int) -> str:
    return text.replace("\x00", "")[:length]

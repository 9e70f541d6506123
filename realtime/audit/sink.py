"""Write the audit's events to the database."""

from collections.abc import Sequence
from datetime import UTC, datetime

from asgiref.sync import sync_to_async

from realtime import database
from realtime.audit.events import Authenticated, Event, Opened
from realtime.models import ConnectionRecord


async def database_sink(events: Sequence[Event]) -> None:
    """Write events to the database, in bulk; safe to repeat.

    Raises:
        DatabaseUnavailable: the database is unavailable.
    """
    await sync_to_async(write, thread_sensitive=False)(events)


def write(events: Sequence[Event]) -> None:
    """Write events to the database, in the calling thread; see `database_sink`."""
    ids = {event.connection_id for event in events}
    with database.database_access():
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
                None  # so that rows are matched by connection_id: bulk_update by primary key takes 20 times as long
            )
        ConnectionRecord.objects.bulk_create(
            records.values(),
            update_conflicts=True,
            unique_fields=["connection_id"],
            update_fields=ConnectionRecord.LATER,
        )


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


def _time(event: Event) -> datetime:
    return datetime.fromtimestamp(event.at, UTC)


def _clean(text: str, length: int) -> str:
    return text.replace("\x00", "")[:length]

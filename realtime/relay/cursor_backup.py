"""Copy the topics' cursors to the database: the relay continues from the copy if Redis lost them.

A separate task writes the copy every few seconds, so that a slow database does not delay the relay. With an older copy
the relay reads some entries again.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from asgiref.sync import sync_to_async

from realtime import database
from realtime.exceptions import DatabaseUnavailable
from realtime.models import RelayCursor
from realtime.relay.worker import TopicWorker

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0


async def saved_cursor(topic: str) -> str | None:
    """Return the database's copy of a topic's cursor; None if there is none.

    Raises:
        DatabaseUnavailable: the database is unavailable.
    """
    return await sync_to_async(_read, thread_sensitive=False)(topic)


class CursorBackup:
    """Writes the cursors that moved to the database."""

    def __init__(self, workers: Sequence[TopicWorker[Any]]) -> None:
        self._workers = workers
        self._written: dict[str, str] = {}

    async def run(self) -> None:
        """Write every `EVERY_SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write the cursors that moved since the last write; if the database is unavailable, log it and retry later."""
        cursors = {worker.topic.name: worker.committed for worker in self._workers if worker.committed}
        moved = {topic: cursor for topic, cursor in cursors.items() if self._written.get(topic) != cursor}
        if not moved:
            return
        try:
            await sync_to_async(_write, thread_sensitive=False)(moved)
        except DatabaseUnavailable as error:
            logger.warning("the cursors could not be written to the database, retrying: %s", error)
        else:
            self._written |= moved


def _read(topic: str) -> str | None:
    with database.database_access():
        return RelayCursor.objects.filter(pk=topic).values_list("entry_id", flat=True).first()


def _write(cursors: Mapping[str, str]) -> None:
    with database.database_access():
        RelayCursor.objects.bulk_create(
            [RelayCursor(topic=topic, entry_id=entry_id) for topic, entry_id in cursors.items()],
            update_conflicts=True, unique_fields=["topic"], update_fields=["entry_id", "updated_at"],
        )  # fmt: skip

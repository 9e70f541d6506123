"""The topics' cursors once more, in the database: where a Redis that lost them is read on from.

Written beside the relay every few seconds, so that a slow database delays nothing; an older copy costs a second look.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from asgiref.sync import sync_to_async

from realtime import database
from realtime.exceptions import TryLater
from realtime.models import RelayCursor
from realtime.relay.worker import TopicWorker

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0


async def saved_cursor(topic: str) -> str | None:
    """The cursor of a topic as the database has it; None where it has none.

    Raises:
        TryLater: the database is away.
    """
    return await sync_to_async(_read, thread_sensitive=False)(topic)


class CursorBackup:
    """Writes the cursors that moved."""

    def __init__(self, workers: Sequence[TopicWorker[Any]]) -> None:
        self._workers = workers
        self._written: dict[str, str] = {}

    async def run(self) -> None:
        """Write regularly, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what moved since the last time; a database that is away is reported and tried again."""
        cursors = {worker.topic.name: worker.committed for worker in self._workers if worker.committed}
        moved = {topic: cursor for topic, cursor in cursors.items() if self._written.get(topic) != cursor}
        if not moved:
            return
        try:
            await sync_to_async(_write, thread_sensitive=False)(moved)
        except TryLater as error:
            logger.warning("the cursors can't be written to the database now: %s", error)
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

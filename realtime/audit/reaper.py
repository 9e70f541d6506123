"""Open records of nodes that are gone, closed."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from asgiref.sync import sync_to_async

from realtime import database
from realtime.close_codes import CloseCode
from realtime.conf import RealtimeConf
from realtime.exceptions import TryLater
from realtime.models import ConnectionRecord
from realtime.presence.presence import Presence
from realtime.redis.client import Redis
from realtime.redis.errors import is_transient

logger = logging.getLogger(__name__)


class Reaper:
    """Closes the records, and takes off the presence, of gateways that died. Runs beside the relay."""

    def __init__(self, redis: Redis, conf: RealtimeConf) -> None:
        self._presence = Presence(redis, "", conf)
        self._every = conf.presence_lease / 3
        self._grace = conf.presence_lease
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


def _nodes_with_open_records() -> set[str]:
    with database.database_access():
        nodes = ConnectionRecord.objects.filter(closed_at=None).order_by().values_list("node", flat=True).distinct()
        return set(nodes)


def _close_records(nodes: Sequence[str]) -> int:
    with database.database_access():
        records = ConnectionRecord.objects.filter(closed_at=None, node__in=nodes)
        count = records.update(closed_at=datetime.now(UTC), close_code=CloseCode.ABNORMAL)
    logger.warning("closed %d connection records of gateways that are gone: %s", count, ", ".join(nodes))
    return count

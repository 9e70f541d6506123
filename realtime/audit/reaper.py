"""Close the open audit records of gateways that died."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from asgiref.sync import sync_to_async

from realtime import database
from realtime.audit.open_nodes import nodes_with_open_records
from realtime.close_codes import CloseCode
from realtime.conf import RealtimeConf
from realtime.exceptions import TransientError
from realtime.models import ConnectionRecord
from realtime.presence.presence import Presence
from realtime.redis import keys
from realtime.redis.client import Redis

MOST_NODES = 10_000
"""Most gateways that are looked at in one go; the records of dead ones are closed, so the next go finds others."""

AT_ONCE = 1_000
"""Records that are opened again by one statement."""
CLOSED = "closed:"
"""Begins the fields of `keys.reaper()` that name gateways whose records were closed, with the time."""
REMEMBERED_SECONDS = 86_400

logger = logging.getLogger(__name__)


class Reaper:
    """Closes the records of gateways that died, and removes their presence. Runs in the relay's process."""

    def __init__(self, redis: Redis, conf: RealtimeConf) -> None:
        self._redis = redis
        self._presence = Presence(redis, "", conf)
        self._every = conf.presence_lease / 3
        self._grace = conf.presence_lease
        self._missing_since: dict[str, float] = {}

    async def run(self) -> None:
        """Look for dead gateways three times per presence lease, until cancelled."""
        self._missing_since.clear()
        while True:
            try:
                await self.reap()
            except TransientError as error:
                self._missing_since.clear()  # while Redis takes no writes no gateway counts as missing
                logger.warning("records of dead gateways could not be closed, retrying: %s", error)
            await asyncio.sleep(self._every)

    async def reap(self) -> int:
        """Close the records of gateways that have been missing for one lease; return how many.

        A gateway that was only paused, or whose lease Redis lost, comes back: its records are opened again.
        """
        live = await self._presence.live_nodes()
        await self._reopen(live)
        missing = await sync_to_async(_nodes_with_open_records, thread_sensitive=False)() - live
        if missing:  # while Redis refuses writes, living gateways can't renew their leases either
            await self._redis.hset(keys.reaper(), mapping={"at": int(time.time())})
        now = time.monotonic()
        self._missing_since = {node: self._missing_since.get(node, now) for node in missing}
        dead = [node for node, since in self._missing_since.items() if now - since >= self._grace]
        if not dead:
            return 0
        await self._presence.sweep()
        await self._redis.hset(keys.reaper(), mapping={f"{CLOSED}{node}": int(time.time()) for node in dead})
        return await sync_to_async(_close_records, thread_sensitive=False)(dead)

    async def _reopen(self, live: set[str]) -> None:
        """Open the records of gateways again that were taken for dead and live, by the connections that they list."""
        for field, at in (await self._redis.hgetall(keys.reaper())).items():
            if not (name := field.decode()).startswith(CLOSED):
                continue
            node = name.removeprefix(CLOSED)
            reopened = 0
            if node in live:
                listed = [one.decode() for one in await self._redis.hgetall(keys.node_connections(node))]
                reopened = await sync_to_async(_open_records, thread_sensitive=False)(node, listed)
            if not reopened and (node in live or time.time() - int(at) >= REMEMBERED_SECONDS):
                await self._redis.hdel(keys.reaper(), field)


def _nodes_with_open_records() -> set[str]:
    with database.database_access():
        return set(nodes_with_open_records(MOST_NODES))


def _close_records(nodes: Sequence[str]) -> int:
    with database.database_access():
        records = ConnectionRecord.objects.filter(closed_at=None, node__in=nodes)
        count = records.update(closed_at=datetime.now(UTC), close_code=CloseCode.ABNORMAL)
    logger.warning("closed %d connection records of dead gateways: %s", count, ", ".join(nodes))
    return count


def _open_records(node: str, connections: Sequence[str]) -> int:
    """Open those records that no connection's own end has closed; return how many."""
    count = 0
    with database.database_access():
        closed = ConnectionRecord.objects.filter(node=node, close_code=CloseCode.ABNORMAL, frames_out=0)
        for start in range(0, len(connections), AT_ONCE):
            some = closed.filter(connection_id__in=connections[start : start + AT_ONCE])
            count += some.update(closed_at=None, close_code=None)
    if count:
        logger.warning("opened %d connection records again: gateway %s lives", count, node)
    return count

"""Who is online: a lease per gateway, and under it the gateway's connections. Right with several devices and gateways.

`opened` and `closed` never wait; a background task writes them, and its regular renewal repairs what was lost.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from realtime.conf import RealtimeConf
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.errors import is_transient
from realtime.redis.scripts import Script

logger = logging.getLogger(__name__)

CHUNK = 500
STATUS_DAYS = 30

_presence = Script("presence")
_sweep = Script("sweep")


async def _nothing(connection_ids: list[str]) -> None:
    """What a node without connections does about a user's oldest."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Over the whole cluster."""

    online_users: int
    connections: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Status:
    """One user; times in Unix seconds, 0 where never."""

    is_online: bool
    last_seen: int
    last_online_at: int
    last_offline_at: int


@dataclass(frozen=True, slots=True)
class UserPresence:
    """One user's connections over the cluster, and when it was last seen: Unix seconds, 0 where never."""

    user_id: int
    connections: int
    last_seen: int


class Presence:
    """This node's connections as the cluster sees them, and what the cluster knows of others'."""

    def __init__(
        self, redis: Redis, node: str, conf: RealtimeConf,
        *, on_excess: Callable[[list[str]], Awaitable[None]] = _nothing,
    ) -> None:  # fmt: skip
        self._redis: Any = redis  # redis-py's types give one signature for its two kinds of client
        self._node = node
        self._lease = conf.presence_lease
        self._most = conf.connections_per_user
        self._on_excess = on_excess
        self._users: dict[str, int] = {}
        self._changes: dict[str, tuple[str, int]] = {}
        self._news = asyncio.Event()
        self._quiet_until = 0.0

    def opened(self, user_id: int, connection_id: str) -> None:
        """A connection of this node has authenticated."""
        self._users[connection_id] = user_id
        self._changes[connection_id] = ("+", user_id)
        self._news.set()

    def closed(self, user_id: int, connection_id: str) -> None:
        """A connection of this node is gone."""
        self._users.pop(connection_id, None)
        self._changes[connection_id] = ("-", user_id)
        self._news.set()

    async def run(self) -> None:
        """Write changes as they come, renew the lease, take off nodes that are gone; until cancelled."""
        renew_at = 0.0
        while True:
            try:
                self._news.clear()
                count = await self._flush()
                if time.monotonic() >= renew_at:
                    if count != len(self._users) and not self._changes:
                        await self._repair()
                    if time.monotonic() >= self._quiet_until:
                        await self.sweep()
                    renew_at = time.monotonic() + self._lease / 3
            except Exception as error:
                # Whoever comes back first must not take the others off before they have come back too.
                self._quiet_until = time.monotonic() + self._lease
                if not is_transient(error):
                    raise
                logger.warning("presence can't be written now, trying again: %s", error)
                await asyncio.sleep(1)
                continue
            try:
                # Not wait_for: on Python 3.11 it swallows a cancellation that comes with the event.
                async with asyncio.timeout(max(renew_at - time.monotonic(), 0.01)):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """This node's connections are gone at once."""
        try:
            await self._flush()
            await self._take_off(self._node, even_alive=True)
        except Exception as error:
            logger.warning("presence of this node ends with its lease: %s", error)

    async def sweep(self) -> None:
        """Take off the nodes whose lease has run out."""
        seconds, _ = await self._redis.time()
        for node in await self._redis.zrangebyscore(keys.NODES, "-inf", seconds):
            if node.decode() != self._node:
                logger.warning("gateway %s is gone; its connections are taken off", node.decode())
                await self._take_off(node.decode(), even_alive=False)

    async def live_nodes(self) -> set[str]:
        """The gateways whose lease holds."""
        seconds, _ = await self._redis.time()
        return {node.decode() for node in await self._redis.zrangebyscore(keys.NODES, seconds, "+inf")}

    async def gateways(self) -> tuple[int, dict[str, int]]:
        """How many users are online, and the connections of each gateway whose lease holds."""
        nodes = sorted(await self.live_nodes())
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hlen(keys.ONLINE)
        for node in nodes:
            pipeline.hlen(keys.node_connections(node))
        online, *connections = await pipeline.execute()
        return online, dict(zip(nodes, connections, strict=True))

    async def stats(self) -> Stats:
        """Users, connections and gateways of the cluster."""
        online, connections = await self.gateways()
        return Stats(online, sum(connections.values()), len(connections))

    async def status(self, user_id: int) -> Status:
        """What is known of one user; offline and zeros if nothing is."""
        known = {name.decode(): value for name, value in (await self._redis.hgetall(keys.user_status(user_id))).items()}
        times = [int(known.get(name, 0)) for name in ("last_seen", "last_online_at", "last_offline_at")]
        return Status(known.get("is_online") in (b"true", b"1"), *times)

    async def of_users(self, user_ids: Sequence[int]) -> list[UserPresence]:
        """Of each user, in one round trip; raises what Redis raises."""
        if not user_ids:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hmget(keys.ONLINE, user_ids)
        for user_id in user_ids:
            pipeline.hget(keys.user_status(user_id), "last_seen")
        connections, *seen = await pipeline.execute()
        return [
            UserPresence(user_id, max(0, int(count or 0)), int(at or 0))
            for user_id, count, at in zip(user_ids, connections, seen, strict=True)
        ]

    async def forget(self, user_id: int) -> None:
        """Forget when a user was here; one that is online now is known again at its next change."""
        await self._redis.delete(keys.user_status(user_id))

    async def _flush(self) -> int:
        """Write what changed and renew the lease; how many connections the cluster counts for this node."""
        while True:
            some = list(self._changes.items())[:CHUNK]
            count = await self._write([part for name, (change, user) in some for part in (change, name, str(user))])
            for name, change in some:
                if self._changes.get(name) == change:
                    del self._changes[name]
            if not self._changes:
                return count

    async def _write(self, changes: list[str]) -> int:
        of_node = [keys.NODES, keys.node_connections(self._node), keys.ONLINE]
        given: list[str | float] = [
            self._node,
            self._lease,
            STATUS_DAYS,
            self._most,
            keys.USER_CONNECTIONS,
            keys.USER_STATUS,
        ]
        answer = await _presence.run(self._redis, of_node, [*given, *changes])
        count, *oldest = answer
        if oldest:
            await self._on_excess([connection_id.decode() for connection_id in oldest])
        return int(count)

    async def _repair(self) -> None:
        """Redis was emptied, or we were taken for gone: announce what differs."""
        known = {name.decode(): int(user) for name, user in (await self._redis.hgetall(self._key())).items()}
        for name, user in self._users.items():
            if name not in known:
                self._changes.setdefault(name, ("+", user))
        for name, user in known.items():
            if name not in self._users:
                self._changes.setdefault(name, ("-", user))
        await self._flush()

    async def _take_off(self, node: str, *, even_alive: bool) -> None:
        of_node = [keys.NODES, keys.node_connections(node), keys.ONLINE]
        given: list[str | float] = [node, CHUNK, STATUS_DAYS, int(even_alive), keys.USER_CONNECTIONS, keys.USER_STATUS]
        while await _sweep.run(self._redis, of_node, given):
            pass

    def _key(self) -> str:
        return keys.node_connections(self._node)

"""Presence: which users are online, counted over all their devices and all gateways.

Each gateway holds a lease in Redis, and its connections are stored under that lease. `opened` and `closed` never wait:
a background task writes the changes, renews the lease and repairs differences.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from realtime.aio.waiting import wait_event
from realtime.conf import RealtimeConf
from realtime.exceptions import RealtimeError, TransientError
from realtime.ids import new_epoch
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.scripts import Script

logger = logging.getLogger(__name__)

CHUNK = 500
STATUS_DAYS = 30

_presence_update = Script("presence_update")
_presence_remove_node = Script("presence_remove_node")


async def _nothing(connection_ids: list[str]) -> None:
    """Do nothing about a user's excess connections: the default for a process without connections."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts over the whole cluster."""

    online_users: int
    connections: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Status:
    """The status of one user; times in Unix seconds, 0 for never."""

    is_online: bool
    last_seen: int
    last_online_at: int
    last_offline_at: int


@dataclass(frozen=True, slots=True)
class UserPresence:
    """One user's connections over the cluster, and when the user was last seen: Unix seconds, 0 for never."""

    user_id: int
    connections: int
    last_seen: int


class Presence:
    """Publishes this node's connections to the cluster, and reads the presence of all users."""

    def __init__(
        self, redis: Redis, node: str, conf: RealtimeConf,
        *, on_excess: Callable[[list[str]], Awaitable[None]] = _nothing,
    ) -> None:  # fmt: skip
        self._redis = redis
        self._node = node
        self._lease = conf.presence_lease
        self._limit = conf.connections_per_user
        self._on_excess = on_excess
        self._users: dict[str, int] = {}
        self._changes: dict[str, tuple[str, int]] = {}
        self._news = asyncio.Event()
        self._quiet_until = 0.0
        self._mark: bytes | None = b""
        """What the last write left in Redis; None if its answer was lost."""
        self._is_sure = True
        """Whether Redis still has all that was written."""

    def opened(self, user_id: int, connection_id: str) -> None:
        """Note that a connection of this node has authenticated."""
        self._users[connection_id] = user_id
        self._changes[connection_id] = ("+", user_id)
        self._news.set()

    def closed(self, user_id: int, connection_id: str) -> None:
        """Note that a connection of this node has closed."""
        self._users.pop(connection_id, None)
        self._changes[connection_id] = ("-", user_id)
        self._news.set()

    async def run(self) -> None:
        """Write changes as they come, renew the lease and remove expired nodes, until cancelled."""
        renew_at = 0.0
        while True:
            try:
                self._news.clear()
                count = await self._flush()
                while not self._is_sure:
                    count = await self._repair()
                if time.monotonic() >= renew_at:
                    await self._renew(count)
                    renew_at = time.monotonic() + self._lease / 3
            except RealtimeError as error:
                # After an outage wait one lease: the other nodes need that time to renew theirs.
                self._quiet_until = time.monotonic() + self._lease
                if not isinstance(error, TransientError):
                    raise
                logger.warning("presence could not be written, retrying: %s", error)
                await asyncio.sleep(1)
            else:
                await wait_event(self._news, max(renew_at - time.monotonic(), 0.01))

    async def _renew(self, count: int) -> None:
        """Announce what Redis lost, where it counts other connections than we have; remove expired nodes."""
        if count != len(self._users) and not self._changes:
            await self._repair()
        if time.monotonic() >= self._quiet_until:
            await self.sweep()

    async def stop(self) -> None:
        """Remove this node's connections at once, without waiting for the lease to expire."""
        try:
            await self._flush()
            await self._take_off(self._node, even_alive=True)
            await self._redis.delete(keys.node_mark(self._node))
        except TransientError as error:
            logger.warning("presence of this node could not be removed and expires with its lease: %s", error)

    async def sweep(self) -> None:
        """Remove the nodes whose lease has expired, with their connections."""
        seconds, _ = await self._redis.time()
        for node in await self._redis.zrangebyscore(keys.nodes(), "-inf", seconds):
            if node.decode() != self._node:
                logger.warning("the lease of gateway %s expired; removing its connections", node.decode())
                await self._take_off(node.decode(), even_alive=False)

    async def live_nodes(self) -> set[str]:
        """Return the names of the gateways with a valid lease."""
        seconds, _ = await self._redis.time()
        return {node.decode() for node in await self._redis.zrangebyscore(keys.nodes(), seconds, "+inf")}

    async def gateways(self) -> tuple[int, dict[str, int]]:
        """Return how many users are online, and the connections of each gateway with a valid lease."""
        nodes = sorted(await self.live_nodes())
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hlen(keys.online())
        for node in nodes:
            pipeline.hlen(keys.node_connections(node))
        online, *connections = await pipeline.execute()
        return online, dict(zip(nodes, connections, strict=True))

    async def stats(self) -> Stats:
        """Return the counts of users, connections and gateways of the cluster."""
        online, connections = await self.gateways()
        return Stats(online, sum(connections.values()), len(connections))

    async def status(self, user_id: int) -> Status:
        """Return the status of one user; offline with zeros for an unknown user."""
        known = {name.decode(): value for name, value in (await self._redis.hgetall(keys.user_status(user_id))).items()}
        times = [int(known.get(name, 0)) for name in ("last_seen", "last_online_at", "last_offline_at")]
        return Status(known.get("is_online") in (b"true", b"1"), *times)

    async def of_users(self, user_ids: Sequence[int]) -> list[UserPresence]:
        """Return the presence of each user, in one round trip; raises what Redis raises."""
        if not user_ids:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hmget(keys.online(), user_ids)
        for user_id in user_ids:
            pipeline.hget(keys.user_status(user_id), "last_seen")
        connections, *seen = await pipeline.execute()
        return [
            UserPresence(user_id, max(0, int(count or 0)), int(at or 0))
            for user_id, count, at in zip(user_ids, connections, seen, strict=True)
        ]

    async def forget(self, user_id: int) -> None:
        """Delete a user's status; a user who is online gets a new one at the next change."""
        await self._redis.delete(keys.user_status(user_id))

    async def _flush(self) -> int:
        """Write what changed and renew the lease; return how many connections Redis holds for this node."""
        while True:
            some = list(self._changes.items())[:CHUNK]
            count = await self._write([part for name, (change, user) in some for part in (change, name, str(user))])
            for name, change in some:
                if self._changes.get(name) == change:
                    del self._changes[name]
            if not self._changes:
                return count

    async def _write(self, changes: list[str]) -> int:
        of_node = [keys.nodes(), keys.node_connections(self._node), keys.online(), keys.node_mark(self._node)]
        new_mark = new_epoch()
        given: list[str | float] = [self._node, self._lease, STATUS_DAYS, self._limit, new_mark]
        before, self._mark = self._mark, None
        answer = await _presence_update.run(self._redis, [*of_node, *_keys_of(changes[2::3])], [*given, *changes])
        count, mark, *oldest = answer
        self._mark = new_mark.encode()
        if mark == self._mark:  # the script ran twice: the answer of the first run was lost with its connection
            before = None
        if mark != before:
            self._lost_something(before)
        if oldest:
            await self._on_excess([connection_id.decode() for connection_id in oldest])
        return int(count)

    def _lost_something(self, mark: bytes | None) -> None:
        """Compare with Redis: it went back in time (it was restored, or a replica that lagged took over), or may have.

        ``mark`` is the one that Redis lost; None where an answer was lost, so that nobody knows.

        The count of our connections may be right nevertheless, if one opening and one closing were lost.
        """
        if mark is not None:
            logger.warning("Redis lost a part of this node's presence: it went back in time")
        self._is_sure = False
        self._quiet_until = time.monotonic() + self._lease  # it may have lost the leases of the other nodes as well

    async def _repair(self) -> int:
        """Write the differences to Redis: it was emptied or restored, or another node removed this one as expired.

        Returns how many connections Redis holds for this node then.
        """
        known = {name.decode(): int(user) for name, user in (await self._redis.hgetall(self._key())).items()}
        self._is_sure = True
        for name, user in self._users.items():
            if name not in known:
                self._changes.setdefault(name, ("+", user))
        for name, user in known.items():
            if name not in self._users:
                self._changes.setdefault(name, ("-", user))
        return await self._flush()

    async def _take_off(self, node: str, *, even_alive: bool) -> None:
        """Remove a node with its connections, some at a time. Each script call names all keys that it uses."""
        of_node = [keys.nodes(), keys.node_connections(node), keys.online()]
        given: list[str | int] = [node, STATUS_DAYS, int(even_alive)]
        left = 1
        while left:
            some = await self._redis.hrandfield(keys.node_connections(node), CHUNK, withvalues=True)
            connections = [part.decode() for part in some]
            left = await _presence_remove_node.run(
                self._redis, [*of_node, *_keys_of(connections[1::2])], [*given, *connections]
            )

    def _key(self) -> str:
        return keys.node_connections(self._node)


def _keys_of(users: Sequence[str]) -> list[str]:
    """Return the two keys of each user that the scripts change."""
    return [key for user in users for key in (keys.user_connections(user), keys.user_status(user))]

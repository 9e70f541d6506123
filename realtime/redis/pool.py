"""Use the connections of redis-py's pools: find those that the server closed, and replace those to a former master."""

import math
import select
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from redis.asyncio import BlockingConnectionPool

from realtime.exceptions import RedisConnectionLost
from realtime.redis.errors import BROKEN, StaleServer, translated

RENEW_SECONDS = 1.0
"""The shortest time between two replacements of a pool's connections: a server may stay stale for a while."""

CLOSED = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)  # the last is Linux's

_renewed_at: MutableMapping[Any, float] = WeakKeyDictionary()

Answer = TypeVar("Answer")


class Pool(BlockingConnectionPool):
    """A pool that never hands out a connection that the server has closed."""

    async def ensure_connection(self, connection: Any) -> None:
        await drop_if_closed(connection)
        await super().ensure_connection(connection)


async def drop_if_closed(connection: Any) -> None:
    """Disconnect a pooled connection that the server has closed or reset; redis-py then connects it again.

    redis-py only finds the end of a stream that the event loop has read. It takes a connection that was reset for a
    good one, and raises AttributeError or TypeError on its use.
    """
    reader, writer = connection._reader, connection._writer
    if reader is None or writer is None:
        return
    if writer.is_closing() or reader.exception() is not None or _is_closed(writer.get_extra_info("socket")):
        await connection.disconnect(nowait=True)


def _is_closed(socket: Any) -> bool:
    """Return whether the other side has closed, also where the event loop doesn't know it yet."""
    if socket is None or socket.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(socket.fileno(), CLOSED)
    return bool(poll.poll(0))


async def with_fresh_connection(
    pool: Any, work: Callable[[], Awaitable[Answer]], *, is_repeatable: bool = True
) -> Answer:
    """Return the result of ``work``, which uses a connection of the pool; run it again at once on another connection
    if the first one was lost and the work is safe to repeat, or if it leads to a server that is no longer the master.

    Raises:
        RedisUnavailable, RedisDefect: see `realtime.redis.errors`.
    """
    began = time.monotonic()
    try:
        with translated(*BROKEN):
            return await work()
    except RedisConnectionLost:
        if not is_repeatable:
            raise
    except StaleServer:
        if not await _renew(pool, began):
            raise
    with translated(*BROKEN):
        return await work()


async def _renew(pool: Any, began: float) -> bool:
    """Close the idle connections of a pool at once, and the others after their use.

    Returns whether the pool's connections are newer than ``began``; False also if they were replaced just before.
    """
    now, renewed_at = time.monotonic(), _renewed_at.get(pool, -math.inf)
    if renewed_at >= began:
        return True
    if now - renewed_at < RENEW_SECONDS:
        return False
    _renewed_at[pool] = now
    with translated(*BROKEN):
        await pool.update_active_connections_for_reconnect()
        await pool.disconnect(inuse_connections=False)
    return True

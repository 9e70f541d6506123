"""Connect to whichever server the sentinels call the master."""

import weakref
from typing import Any

from redis.asyncio import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff

from realtime.redis.addresses import Sentinels
from realtime.redis.pool import Pool

SENTINEL_SECONDS = 1.0
"""How long a sentinel may take to answer; then the next one is asked."""


def sentinel_options(sentinels: Sentinels) -> dict[str, Any]:
    """Return the options of a connection to one of the sentinels."""
    limits = {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
    return {**sentinels.sentinel_options, **limits, "retry": Retry(NoBackoff(), 0)}


class MasterConnection(SentinelManagedConnection):
    """A connection to the master. An answer READONLY stays what it is: the pool replaces its connections then."""

    read_response: Any = Connection.read_response


class MasterSSLConnection(SentinelManagedSSLConnection):
    """The same over TLS."""

    read_response: Any = Connection.read_response


class MasterPool(Pool):
    """A pool of connections to the master; each new connection asks the sentinels where it is."""

    is_master, check_connection = True, False  # redis-py's connection reads these

    def __init__(self, sentinels: Sentinels, **options: Any) -> None:
        self._sentinels = sentinels
        manager: Any = Sentinel  # redis-py has no types for it
        self._manager = manager(list(sentinels.places), sentinel_kwargs=sentinel_options(sentinels))
        given = {**sentinels.options, **options}
        made_by = MasterSSLConnection if given.pop("ssl", False) else MasterConnection
        super().__init__(connection_class=made_by, connection_pool=weakref.proxy(self), **given)

    async def get_master_address(self) -> tuple[str, int]:
        """Return where the master is.

        Raises:
            redis.ConnectionError: no sentinel answered that knows a master of this name.
        """
        host, port = await self._manager.discover_master(self._sentinels.master)
        return host, int(port)

    async def aclose(self) -> None:
        """Close all connections, also those to the sentinels."""
        await super().aclose()
        await self._manager.aclose()

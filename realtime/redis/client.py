"""Create clients of Redis, wait until Redis answers, and probe it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from redis import asyncio as redis_asyncio
from redis.asyncio import client as redis_client
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.maint_notifications import MaintNotificationsConfig

from realtime.exceptions import RealtimeError, RedisUnavailable, TransientError
from realtime.redis.addresses import sentinels_of
from realtime.redis.commands import Redis
from realtime.redis.pool import Pool, with_fresh_connection
from realtime.redis.sentinels import MasterPool, sentinel_options

__all__ = [
    "Redis", "address_of", "connect", "database_of", "eviction_problem", "layer_host", "no_retry", "state_of",
    "wait_for_redis",
]  # fmt: skip

logger = logging.getLogger(__name__)

OLDEST_MAJOR = 7
"""The oldest supported major version. Valkey reports the version of Redis that it is compatible with."""

WAIT_SECONDS = 20
"""How long a call waits for a free connection of the client."""


DRIVER = DriverInfo()
"""What each connection tells Redis about its client. redis-py would search the installed packages for each of them."""

REPEATABLE = frozenset({
    "DEL", "EXPIRE", "GET", "HDEL", "HGET", "HGETALL", "HLEN", "HMGET", "HRANDFIELD", "HSET", "INFO", "LRANGE",
    "MEMORY", "PING", "SADD", "SCRIPT", "SMEMBERS", "TIME", "XGROUP", "XINFO", "XDEL", "XLEN", "XPENDING", "XRANGE",
    "XREAD", "XREVRANGE", "XTRIM", "ZADD", "ZRANGEBYSCORE", "ZREM",
})  # fmt: skip
"""Commands that have the same effect if they run twice. Another one is not repeated after its answer was lost."""


class ClientPipeline(redis_client.Pipeline):
    """redis-py's pipeline; it raises our own errors (`realtime.redis.errors`)."""

    def annotate_exception(self, exception: Exception, number: int, command: Any) -> None:
        """Leave the error as it is: the code at the beginning of its text says what it means."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack = list(self.command_stack)

        async def run() -> list[Any]:
            self.command_stack = list(stack)  # redis-py empties it, also after an error
            return await super(ClientPipeline, self).execute(raise_on_error)

        is_repeatable = all(_is_repeatable(command) for command, _ in stack)
        return await with_fresh_connection(self.connection_pool, run, is_repeatable=is_repeatable)


class Client(redis_asyncio.Redis):
    """redis-py's client; it raises our own errors (`realtime.redis.errors`)."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async def run() -> Any:
            return await super(Client, self).execute_command(*args, **options)  # type: ignore[no-untyped-call]

        return await with_fresh_connection(self.connection_pool, run, is_repeatable=_is_repeatable(args))

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> ClientPipeline:
        return ClientPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


def _is_repeatable(command: Sequence[Any]) -> bool:
    return str(command[0]).partition(" ")[0].upper() in REPEATABLE


def connect(url: str, *, timeout: float = 5.0, max_connections: int = 50) -> Redis:
    """Return a client that answers bytes, times out after ``timeout`` seconds and never retries a command by itself.

    A call waits up to `WAIT_SECONDS` for a connection if all ``max_connections`` are in use.
    """
    options = {
        "decode_responses": False,
        # If this is on, the pool returns connections that the server has closed.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **no_retry(timeout),
    }
    sentinels = sentinels_of(url)
    limits = {"max_connections": max_connections, "timeout": WAIT_SECONDS}
    pool: Any = MasterPool(sentinels, **limits, **options) if sentinels else Pool.from_url(url, **limits, **options)
    client: Any = Client(connection_pool=pool)  # redis-py types answers as bytes or str
    client.auto_close_connection_pool = True
    redis: Redis = client
    return redis


def no_retry(timeout: float) -> dict[str, Any]:
    """Return the options of a connection that times out after ``timeout`` seconds and never retries a command."""
    return {
        "socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0),
        "driver_info": DRIVER,
    }  # fmt: skip


def layer_host(url: str) -> dict[str, Any]:
    """Return a URL as channels_redis takes it: one entry of its ``hosts``."""
    sentinels = sentinels_of(url)
    if sentinels is None:
        return {"address": url}
    return {
        "master_name": sentinels.master, "sentinels": list(sentinels.places),
        "sentinel_kwargs": sentinel_options(sentinels), **sentinels.options,
    }  # fmt: skip


def address_of(url: str) -> str:
    """Return ``host:port`` of a Redis URL, or the master's name and its sentinels, without a password, for messages."""
    if sentinels := sentinels_of(url):
        return sentinels.address
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"


def database_of(options: Mapping[str, Any]) -> int:
    """Return the number of the database that the options of a connection name, by its URL (``address``) or ``db``."""
    found = parse_url(options["address"]).get("db") if "address" in options else None
    return int(options.get("db") or 0 if found is None else found)


async def wait_for_redis(client: Redis, url: str, seconds: float) -> None:
    """Return as soon as Redis answers.

    Raises:
        RedisUnavailable: after ``seconds``, or at once if Redis is too old; the message names the address.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            info = await client.info()
        except TransientError as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise RedisUnavailable(
                    f"Redis at {address_of(url)} did not answer in {seconds:g} s: {error}"
                ) from error
            await asyncio.sleep(0.1)
        else:
            version = str(info["redis_version"])
            if int(version.partition(".")[0]) < OLDEST_MAJOR:
                raise RedisUnavailable(f"Redis at {address_of(url)} is {version}; 7.0 or newer, or Valkey, is needed")
            if problem := eviction_problem(url, info):
                logger.error(problem)
            return


def eviction_problem(url: str, info: Mapping[str, Any]) -> str:
    """Return an error text if the eviction policy in Redis's INFO is not noeviction; else an empty text."""
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return ""
    return f"Redis at {address_of(url)} has maxmemory-policy {policy}: it may evict undelivered entries"


async def state_of(redis: Redis, url: str) -> str:
    """Return ``ok``, or the address of Redis and why it doesn't answer."""
    try:
        await redis.ping()
    except RealtimeError as error:
        return f"unavailable at {address_of(url)}: {error}"
    return "ok"

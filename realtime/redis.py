"""The door to Redis: clients, scripts from `lua/`, and which errors are worth waiting for."""

import asyncio
import hashlib
import logging
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import hiredis

from realtime.exceptions import RedisUnavailable
from realtime.imports import without

with without("opentelemetry"):  # redis-py has metrics of its own for it, which are off; `tracing.otel` imports it
    from redis import exceptions
    from redis._parsers.hiredis import NOT_ENOUGH_DATA
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.maint_notifications import MaintNotificationsConfig

__all__ = [
    "ConnectionLost", "Redis", "RedisError", "ResponseError", "Script",
    "address_of", "buffered", "connect", "eviction_problem", "is_transient", "no_retry", "ping", "pipelined",
    "wait_for_redis",
]  # fmt: skip

logger = logging.getLogger(__name__)

RedisError = exceptions.RedisError
ResponseError = exceptions.ResponseError
ConnectionLost = exceptions.ConnectionError

INCLUDE = re.compile(r"^--@include (\w+)\n", re.MULTILINE)
OLDEST_MAJOR = 7
"""Valkey tells the version of Redis that it is compatible with."""
PING_SECONDS = 2.0
WAIT_SECONDS = 20
"""How long a call waits for one of the client's connections."""

_TRANSIENT_REPLIES = (
    "LOADING", "READONLY", "OOM", "NOSCRIPT", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN",
)  # fmt: skip


def connect(url: str, *, timeout: float = 5.0, max_connections: int = 50) -> Redis:
    """A client that answers bytes, gives up after ``timeout`` seconds and never repeats a command by itself.

    When all its connections are in use, a call waits for its turn.
    """
    options = {
        "decode_responses": False,
        # Where it is on, the pool hands out connections that the server has closed.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **no_retry(timeout),
    }
    pool: Any = BlockingConnectionPool.from_url(url, max_connections=max_connections, timeout=WAIT_SECONDS, **options)
    return Redis.from_pool(pool)


def no_retry(timeout: float) -> dict[str, Any]:
    """Options of a connection that gives up after ``timeout`` seconds and never repeats a command by itself."""
    return {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0)}


def address_of(url: str) -> str:
    """``host:port`` of a Redis URL, without its password, for messages."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"


def is_transient(error: BaseException) -> bool:
    """Whether the same command may succeed later, the entry behind it being sound."""
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError | TimeoutError):
        return True
    if isinstance(error, exceptions.ResponseError):
        return isinstance(error, _TRANSIENT_TYPES) or str(error).startswith(_TRANSIENT_REPLIES)
    return False


_TRANSIENT_TYPES = (
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.NoScriptError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.AskError,
    exceptions.TryAgainError,
)


async def pipelined(client: Redis, commands: Sequence[tuple[str | bytes | int | float, ...]]) -> list[Any]:
    """Make many calls in one round trip; answers in their order.

    redis-py's own pipeline packs commands in Python: half of what a batch costs. Every call is made; raises the first
    error among the answers, or what a lost connection raises: any of the calls may have been made then.
    """
    pool: Any = client.connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command(b"".join([_pack(command) for command in commands]), check_health=False)
        answers: list[Any] = []
        async with asyncio.timeout(connection.socket_timeout):  # one for all: a timer each is half of reading them
            for _ in commands:
                try:
                    answers.append(await connection.read_response(timeout=math.inf))
                except ResponseError as error:
                    answers.append(error)
    except BaseException:
        await connection.disconnect(nowait=True)  # what is still to come would be taken for another's answer
        raise
    finally:
        await pool.release(connection)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def buffered(connection: Any) -> list[Any]:
    """The replies that one of redis-py's connections has read from its socket already, but not handed out yet.

    Its `read_response` costs a walk through four coroutines for each. Empty where it isn't parsed by hiredis.
    """
    reader = getattr(getattr(connection, "_parser", None), "_reader", None)
    if not isinstance(reader, hiredis.Reader):
        return []
    return list(iter(reader.gets, NOT_ENOUGH_DATA))


_pack: Any = hiredis.pack_command  # declared for tuples of one


class Script:
    """A Lua script of `realtime/lua`, run by its digest and sent again when Redis forgot it."""

    def __init__(self, name: str) -> None:
        self._source = INCLUDE.sub(lambda match: _lua(match[1]), _lua(name))
        self._digest = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    async def run_all(
        self, client: Redis, calls: Sequence[tuple[Sequence[str | bytes], Sequence[str | bytes | int | float]]]
    ) -> list[Any]:
        """Run it once for each of ``(keys, args)`` in one round trip; answers in their order.

        Raises as `pipelined` does, so it has to be safe to repeat; where the connection turns out to be dead, it is
        repeated at once on another.
        """
        commands = [("EVALSHA", self._digest, len(keys), *keys, *args) for keys, args in calls]
        try:
            try:
                return await pipelined(client, commands)
            except ConnectionLost:
                return await pipelined(client, commands)
        except exceptions.NoScriptError:
            await client.script_load(self._source)
            return await self.run_all(client, calls)

    async def run(self, client: Redis, keys: Sequence[str | bytes], args: Sequence[str | bytes | int | float]) -> Any:
        """Run it; answers what the script returns, bytes for strings."""
        [answer] = await self.run_all(client, [(keys, args)])
        return answer


def _lua(name: str) -> str:
    return files("realtime").joinpath("lua", f"{name}.lua").read_text()


async def wait_for_redis(client: Redis, url: str, seconds: float) -> None:
    """Return as soon as Redis answers.

    Raises:
        RedisUnavailable: after ``seconds``, or at once for a Redis that is too old; the message names the address.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            info = await client.info()
        except (RedisError, OSError) as error:
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
    """What is wrong with the policy that Redis's INFO tells, in words; empty if it is noeviction."""
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return ""
    return f"Redis at {address_of(url)} has maxmemory-policy {policy}: it may evict what has not been delivered"


def ping(redis: Redis, url: str, loop: asyncio.AbstractEventLoop) -> str:
    """Whether Redis answers, asked in the loop that uses it; for probes."""
    asking = asyncio.run_coroutine_threadsafe(_ping(redis, url), loop)
    try:
        return asking.result(PING_SECONDS)
    except TimeoutError:
        asking.cancel()
        return f"no answer from {address_of(url)} within {PING_SECONDS:g} s"


async def _ping(redis: Any, url: str) -> str:
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        return f"{address_of(url)}: {error}"
    return "ok"

"""Run many commands in one round trip, and return the replies that a connection has buffered."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import ResponseError

from realtime.redis.commands import Redis
from realtime.redis.pool import drop_if_closed, with_fresh_connection


async def pipelined(client: Redis, commands: Sequence[tuple[str | bytes | int | float, ...]]) -> list[Any]:
    """Run many commands in one round trip; return their answers in order.

    redis-py's own pipeline packs commands in Python, which is half the cost of a batch. Every command runs, also after
    one that fails; then the first error is raised. After `RedisUnavailable` any of the commands may have run. After a
    lost connection all of them run again at once on another connection, so they must be safe to repeat.

    Raises:
        RedisUnavailable, RedisDefect: see `realtime.redis.errors`.
    """
    if not commands:  # Python 3.12 and later retry an empty write without end: a busy core, and a close that hangs
        return []
    packed, pool = b"".join([_pack(command) for command in commands]), client.connection_pool

    async def run() -> list[Any]:
        answers = await _exchange(pool, packed, len(commands))
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    return await with_fresh_connection(pool, run)


async def _exchange(pool: Any, packed: bytes, count: int) -> list[Any]:
    connection = await pool.get_connection()
    try:
        await drop_if_closed(connection)
        await connection.send_packed_command(packed, check_health=False)
        answers: list[Any] = []
        async with asyncio.timeout(
            connection.socket_timeout
        ):  # one timer, because one per answer costs half of the reading
            for _ in range(count):
                try:
                    answers.append(await connection.read_response(timeout=math.inf))
                except ResponseError as error:
                    answers.append(error)
    except BaseException:  # also a cancellation; it is raised again
        await connection.disconnect(nowait=True)  # the next user of the connection would read the rest of the answers
        raise
    finally:
        await pool.release(connection)
    return answers


async def response_or_error(connection: Any) -> Any:
    """Return the next reply of a redis-py connection, however late it comes; an error reply is returned as well."""
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as error:
        return error


def buffered(connection: Any) -> list[Any]:
    """Return the replies that a redis-py connection has read from its socket but not returned yet.

    This is cheaper than `read_response`, which runs four coroutines for each reply; errors are among them.
    Empty without hiredis.
    """
    reader = getattr(getattr(connection, "_parser", None), "_reader", None)
    if not isinstance(reader, hiredis.Reader):
        return []
    return list(iter(reader.gets, NOT_ENOUGH_DATA))


_pack: Any = hiredis.pack_command  # its type allows only tuples of one element

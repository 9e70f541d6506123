"""Many calls in one round trip, and what a connection has read already."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import ResponseError

from realtime.redis.commands import Redis
from realtime.redis.errors import translate, translated


async def pipelined(client: Redis, commands: Sequence[tuple[str | bytes | int | float, ...]]) -> list[Any]:
    """Make many calls in one round trip; answers in their order.

    redis-py's own pipeline packs commands in Python: half of what a batch costs. Every call is made; raises the first
    error among the answers. After `RedisUnavailable` any of the calls may have been made.

    Raises:
        RedisUnavailable, RedisDefect: as `realtime.redis.errors` tells.
    """
    with translated():
        answers = await _exchange(client.connection_pool, commands)
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise translate(answer) from answer
    return answers


async def _exchange(pool: Any, commands: Sequence[tuple[str | bytes | int | float, ...]]) -> list[Any]:
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
    except BaseException:  # also a cancellation; it is raised again
        await connection.disconnect(nowait=True)  # what is still to come would be taken for another's answer
        raise
    finally:
        await pool.release(connection)
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

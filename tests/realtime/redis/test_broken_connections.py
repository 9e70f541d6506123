"""Check commands on connections that Redis closed or reset, and on those to a server that is no longer the master."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from realtime.exceptions import RedisConnectionLost, RedisDefect, RedisRefused, RedisUnavailable
from realtime.redis import commands, pool
from realtime.redis.client import REPEATABLE
from realtime.redis.pipeline import pipelined
from realtime.redis.token_bucket import UserLimit
from tests.support.redis import Redis, RedisServer, connect
from tests.support.redis_errors import KINDS, ErrorProxy, is_any_of
from tests.support.waiting import until

CONNECTIONS = 8


@pytest.fixture
async def proxy(redis_server: RedisServer, redis: Redis) -> AsyncIterator[ErrorProxy]:
    async with ErrorProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: ErrorProxy) -> AsyncIterator[Redis]:
    """Return a client whose pool holds some open connections."""
    client = connect(proxy.url)
    await asyncio.gather(*(client.ping() for _ in range(CONNECTIONS)))
    yield client
    await client.aclose()


async def burst(client: Redis) -> None:
    """Use all ways to run commands, as many at a time as there are pooled connections."""

    async def transaction() -> None:
        async with client.pipeline(transaction=True) as both:
            both.hset("h", mapping={"a": 1})
            both.expire("h", 60)
            await both.execute()

    limit = UserLimit(client, "sends", 100, 10)
    works: list[Callable[[], Awaitable[Any]]] = [
        lambda: client.hset("k", mapping={"a": 1}),
        lambda: pipelined(client, [("SET", "k1", 1), ("GET", "k1")]),
        transaction,
        lambda: limit.take(7),
    ]
    await asyncio.gather(*(works[number % len(works)]() for number in range(2 * CONNECTIONS)))


async def test_killed_idle_connections_cost_no_command(client: Redis, redis: Redis) -> None:
    await redis.client_kill_filter(_type="normal", skipme=True)
    await burst(client)


async def test_kill_is_seen_before_the_loop_reads_it(redis_server: RedisServer, redis: Redis) -> None:
    """Use killed connections in the turn of the loop in which they were killed, with a command that never repeats."""
    client = connect(redis_server.url)
    await asyncio.gather(*(client.ping() for _ in range(CONNECTIONS)))
    await redis.client_kill_filter(_type="normal", skipme=True)
    assert await client.incr("n") == 1
    await client.aclose()


async def test_reset_connections_cost_no_command(proxy: ErrorProxy, client: Redis) -> None:
    for _ in range(3):
        proxy.reset()
        await burst(client)
        proxy.reset()
        await asyncio.sleep(0)  # the loop reads the resets, or not
        await burst(client)


async def test_reset_connections_cost_no_command_that_never_repeats(proxy: ErrorProxy, client: Redis) -> None:
    incr = client.incr
    for turn in range(1, 4):
        proxy.reset()
        await asyncio.gather(*(incr("n") for _ in range(CONNECTIONS)))
        assert await client.get("n") == b"%d" % (turn * CONNECTIONS)


async def test_reset_during_a_command_repeats_what_is_safe(proxy: ErrorProxy, client: Redis) -> None:
    reading = asyncio.ensure_future(client.xread({"stream": "$"}, count=1, block=1_000))
    blocked = asyncio.ensure_future(client.blpop("list", timeout=1))
    before = proxy.connections
    await until(lambda: sum(len(link._due) for link in proxy._links) == 2, what="both commands wait for Redis")
    proxy.reset()
    with pytest.raises(RedisConnectionLost):
        await blocked
    assert await reading in ([], {}, None)
    assert proxy.connections > before


@pytest.mark.parametrize("error", [AttributeError("x"), TypeError("x"), RuntimeError("x"), EOFError("x")])
async def test_errors_of_asyncio_are_a_lost_connection(
    client: Redis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """redis-py on Python 3.12 and 3.13 raises these for a connection that is reset while it is used."""

    async def get_connection(*args: object) -> object:
        raise error

    monkeypatch.setattr(client.connection_pool, "get_connection", get_connection)
    for command in (client.ping(), pipelined(client, [("PING",)]), client.pipeline().ping().execute()):
        with pytest.raises(RedisConnectionLost):
            await command


async def test_connections_to_a_former_master_are_replaced(proxy: ErrorProxy, client: Redis) -> None:
    proxy.age()
    await burst(client)
    assert proxy.refused
    proxy.refused.clear()
    await burst(client)
    assert not proxy.refused


async def test_lasting_readonly_does_not_reconnect_each_time(
    proxy: ErrorProxy, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "RENEW_SECONDS", 1_000)
    proxy.answer_kind("READONLY")
    before = proxy.connections
    for _ in range(50):
        with pytest.raises(RedisRefused, match="READONLY"):
            await client.hset("k", mapping={"a": 1})
    assert proxy.connections == before + 1


@pytest.mark.parametrize("kind", KINDS)
async def test_every_refusal_is_transient_and_passes(proxy: ErrorProxy, client: Redis, kind: str) -> None:
    proxy.answer_kind(kind)
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: client.hset("k", mapping={"a": 1}),
        lambda: pipelined(client, [("SET", "k1", 1), ("GET", "k1")]),
        lambda: client.pipeline(transaction=True).hset("k", "a", 1).expire("k", 60).execute(),
        lambda: client.pipeline(transaction=False).hset("k", "a", 1).expire("k", 60).execute(),
        lambda: UserLimit(client, "sends", 100, 10).take(7),
    ]
    for way in ways:
        with pytest.raises(RedisUnavailable) as raised:
            await way()
        assert isinstance(raised.value, RedisRefused), raised.value
    proxy.restore()
    await burst(client)


async def test_lost_script_is_loaded_again(client: Redis, redis: Redis) -> None:
    limit = UserLimit(client, "sends", 100, 10)
    for _ in range(2):
        await redis.script_flush()
        assert await limit.take(7) == 0


def test_every_command_of_the_client_is_safe_to_repeat() -> None:
    """A command that isn't costs its caller an error for each lost connection; list it here if that has to be."""
    names = {name.partition("_")[0].upper() for name, of in vars(commands.Redis).items() if callable(of)}
    used = names - {"", "PIPELINE", "ACLOSE", "DELETE"} | {"DEL"}
    assert used <= REPEATABLE, used - REPEATABLE


async def test_defect_is_not_repeated(proxy: ErrorProxy, client: Redis) -> None:
    proxy.answer("WRONGTYPE Operation against a key holding the wrong kind of value", is_any_of("HSET"))
    with pytest.raises(RedisDefect):
        await client.hset("k", mapping={"a": 1})
    assert proxy.refused["HSET"] == 1

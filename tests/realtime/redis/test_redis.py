"""Check the Redis module: transient errors and defects, and a start without Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import override_settings
from redis import exceptions

from realtime.checks import redis_keeps_what_it_is_given
from realtime.exceptions import RedisConnectionLost, RedisDefect, RedisUnavailable
from realtime.redis.client import address_of, layer_host, wait_for_redis
from realtime.redis.errors import translate
from realtime.redis.pipeline import pipelined
from realtime.redis.scripts import Script
from tests.support.redis import Redis, RedisServer, connect, free_port
from tests.support.waiting import LIMIT

_feed_range = Script("feed_range")


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError(), exceptions.TimeoutError(), exceptions.BusyLoadingError(), OSError(),
        exceptions.ReadOnlyError(), exceptions.OutOfMemoryError(), exceptions.ResponseError("OOM command not allowed"),
        exceptions.ResponseError("MASTERDOWN Link is down"), exceptions.ResponseError("CLUSTERDOWN"), TimeoutError(),
        exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots, but it's unable to"),
        exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
        exceptions.ResponseError("UNBLOCKED the stream key no longer exists"), exceptions.NoPermissionError("no"),
    ],
)  # fmt: skip
def test_recoverable_errors_are_transient(error: exceptions.RedisError | OSError) -> None:
    assert isinstance(translate(error), RedisUnavailable)


@pytest.mark.parametrize("error", [exceptions.ResponseError("WRONGTYPE"), exceptions.DataError()])
def test_programming_errors_are_not_transient(error: exceptions.RedisError | OSError) -> None:
    assert isinstance(translate(error), RedisDefect)


@pytest.mark.parametrize(
    "command",
    [("EVAL", "return redis.call('LPUSH', 'k')", 0), ("EVAL", "return unknown()", 0), ("NO-SUCH",), ("SET", "k")],
)
async def test_real_wrong_command_is_not_transient(redis: Redis, command: tuple[str | int, ...]) -> None:
    with pytest.raises(RedisDefect):
        await redis.execute_command(*command)
    pipeline = redis.pipeline()
    pipeline.execute_command(*command)
    with pytest.raises(RedisDefect):
        await pipeline.execute()
    with pytest.raises(RedisDefect):
        await pipelined(redis, [command])


async def test_no_commands_write_nothing(tmp_path: Path) -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}")
    assert await pipelined(client, []) == []


async def test_lost_connection_is_our_own_error(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    client = connect(server.url)
    await client.ping()
    server.kill()
    with pytest.raises(RedisConnectionLost):
        await client.ping()
    pipeline = client.pipeline()
    pipeline.execute_command("PING")
    with pytest.raises(RedisConnectionLost):
        await pipeline.execute()
    with pytest.raises(RedisConnectionLost):
        await pipelined(client, [("PING",)])
    await client.aclose()


async def test_missing_replicas_are_transient(redis: Redis) -> None:
    await redis.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(RedisUnavailable, match="NOREPLICAS"):
            await redis.set("k", "v")
        for transaction in (True, False):
            pipeline = redis.pipeline(transaction)
            pipeline.set("k", "v")
            with pytest.raises(RedisUnavailable, match="NOREPLICAS"):
                await pipeline.execute()
    finally:
        await redis.config_set("min-replicas-to-write", 0)


async def test_start_waits_for_redis(redis_server: RedisServer, redis: Redis) -> None:
    await wait_for_redis(redis, redis_server.url, LIMIT)


async def test_failed_start_names_the_address_without_password() -> None:
    port = free_port()
    url = f"redis://:hidden@127.0.0.1:{port}/0"
    client = connect(url)
    with pytest.raises(RedisUnavailable, match=f"127.0.0.1:{port}") as refused:
        await wait_for_redis(client, url, 0.2)
    assert "hidden" not in str(refused.value)
    await client.aclose()


@pytest.fixture
async def old_redis() -> AsyncIterator[int]:
    """Run a server that claims to be Redis 6.2, which is not available as a package; yield its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = b"# Server\r\nredis_version:6.2.6\r\n"
        while request := await reader.read(4096):
            for name in (b"HELLO", b"CLIENT", b"INFO"):
                for _ in range(request.upper().count(b"\r\n" + name + b"\r\n")):
                    writer.write(b"$%d\r\n%s\r\n" % (len(info), info) if name == b"INFO" else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_old_redis_is_rejected_at_once(old_redis: int) -> None:
    url = f"redis://127.0.0.1:{old_redis}/0?protocol=2"
    client = connect(url)
    with pytest.raises(RedisUnavailable, match=r"6\.2\.6.*7\.0 or newer"):
        await wait_for_redis(client, url, LIMIT)
    await client.aclose()


def test_address_is_shown_without_secrets() -> None:
    assert address_of("rediss://user:word@cache.example:7000/1") == "cache.example:7000"
    assert address_of("redis://cache.example") == "cache.example:6379"
    assert address_of("unix:///run/redis.sock") == "/run/redis.sock"
    sentinels = "redis+sentinel://user:word@one,two:7000/chat/1?sentinel_password=word"
    assert address_of(sentinels) == "chat of the sentinels one:26379,two:7000"


def test_layer_gets_the_sentinels() -> None:
    given = layer_host("redis+sentinel://user:p%40@one,[::1]:7000/chat/1?sentinel_user=s&sentinel_password=w&tls=1")
    of_sentinels = given.pop("sentinel_kwargs")
    assert {name: of_sentinels[name] for name in ("username", "password", "ssl")} == {
        "username": "s", "password": "w", "ssl": True,
    }  # fmt: skip
    assert given == {
        "master_name": "chat", "sentinels": [("one", 26379), ("::1", 7000)], "db": 1, "username": "user",
        "password": "p@", "ssl": True,
    }  # fmt: skip
    assert layer_host("redis://h") == {"address": "redis://h"}


@pytest.mark.parametrize(("policy", "problems"), [("noeviction", 0), ("allkeys-lru", 1)])
async def test_unsafe_eviction_policy_is_reported(
    redis: Any, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, policy: str, problems: int
) -> None:
    await redis.config_set("maxmemory-policy", policy)
    try:
        await wait_for_redis(redis, redis_server.url, LIMIT)
        with override_settings(REALTIME=replace(settings.REALTIME, redis_url=redis_server.url)):
            found = await sync_to_async(redis_keeps_what_it_is_given)(None)
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert [message.id for message in found] == ["realtime.E001"] * problems
    alarms = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(alarms) == problems
    assert all(f"127.0.0.1:{redis_server.port}" in alarm and policy in alarm for alarm in alarms)


def test_system_check_names_an_unavailable_redis() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with override_settings(REALTIME=replace(settings.REALTIME, redis_url=url)):
        [warning] = redis_keeps_what_it_is_given(None)
    assert warning.id == "realtime.W001"
    assert url.removeprefix("redis://").removesuffix("/0") in warning.msg


@pytest.fixture
async def burst(tmp_path: Path) -> AsyncIterator[tuple[RedisServer, Callable[[], Awaitable[None]]]]:
    """Start a server, and make many concurrent calls by one client, each on its own connection."""
    server = RedisServer(tmp_path)
    server.start()
    client = connect(server.url)

    async def call() -> None:
        calls = (_feed_range.run(client, ["meta", "log"], ["", 0, 0, 1, 1]) for _ in range(20))
        assert [answer for answer in await asyncio.gather(*calls, return_exceptions=True) if answer] == []

    await call()
    yield server, call
    await client.aclose()
    server.stop()


async def test_redis_restart_fails_no_later_call(
    burst: tuple[RedisServer, Callable[[], Awaitable[None]]],
) -> None:
    server, call = burst
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    await call()


async def test_script_survives_a_dying_connection(
    burst: tuple[RedisServer, Callable[[], Awaitable[None]]],
) -> None:
    """Close all connections while the calls are running."""
    server, call = burst
    with sync_redis.Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await call()

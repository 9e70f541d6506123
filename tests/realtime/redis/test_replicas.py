"""With `CHATWS_REDIS_REPLICAS` nothing counts as written that a failover could lose."""

import dataclasses
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chatws.events.routes import MESSAGE_NEW
from realtime.conf import RealtimeConf
from realtime.exceptions import RedisRefused
from realtime.feeds.log import FeedLog
from realtime.publishing.intents import Intents
from realtime.redis.replicas import confirmed
from tests.contract.test_acl import rules
from tests.support.redis import Redis, RedisServer, connect

FEED, ENTRY = "group:g1", [("1-0", "p1", b"\x01")]


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Start a server and its replica."""
    folders = [tmp_path / name for name in ("master", "replica")]
    for folder in folders:
        folder.mkdir()
    master = RedisServer(folders[0], 0, "--repl-diskless-sync-delay", "0")
    servers = master, RedisServer(folders[1], 0, "--replicaof", f"127.0.0.1 {master.port}")
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.kill()


@pytest.fixture
async def master(replica: tuple[RedisServer, RedisServer]) -> AsyncIterator[Redis]:
    async with connect(replica[0].url) as redis:
        await redis.set("written", "first")
        while await redis.wait(1, 1_000) < 1:  # it still copies
            pass
        yield redis


async def test_entry_that_no_replica_has_is_not_appended(
    replica: tuple[RedisServer, RedisServer], master: Redis, conf: RealtimeConf
) -> None:
    feeds = FeedLog(master, dataclasses.replace(conf, redis_replicas=1))
    stopped = replica[1].process
    assert stopped is not None
    stopped.send_signal(signal.SIGSTOP)
    with pytest.raises(RedisRefused, match=r"0 of 1 replicas confirmed .*CHATWS_REDIS_REPLICAS"):
        await feeds.append(FEED, MESSAGE_NEW, ENTRY)
    [unsafe] = await FeedLog(master, conf).append(FEED, MESSAGE_NEW, ENTRY)
    stopped.send_signal(signal.SIGCONT)
    [place] = await feeds.append(FEED, MESSAGE_NEW, ENTRY)
    assert place == unsafe, "a batch that was refused is recognised when it is tried again"
    async with connect(replica[1].url) as copy:
        assert await copy.lrange(f"chatws:{{{FEED}}}:log", 0, -1) == [ENTRY[0][2]]


async def test_message_that_no_replica_has_is_not_published(
    replica: tuple[RedisServer, RedisServer], master: Redis
) -> None:
    intents = Intents(master, MESSAGE_NEW, 600, replicas=1)
    await intents.note("m1", b"content")
    stopped = replica[1].process
    assert stopped is not None
    stopped.send_signal(signal.SIGSTOP)
    with pytest.raises(RedisRefused, match="0 of 1 replicas"):
        await intents.fulfil("m1", {b"payload": b"x"})
    stopped.send_signal(signal.SIGCONT)
    assert not await intents.fulfil("m1", {b"payload": b"x"}), "it was added before"
    assert await master.xlen(MESSAGE_NEW) == 1


async def test_documented_permissions_are_enough(master: Redis) -> None:
    await master.execute_command("ACL", "SETUSER", "chatws", "on", ">pass", *rules())
    for command in (("SET", "chatws:replicated", "", "EX", "60"), ("WAIT", "1", "1000")):
        assert await master.execute_command("ACL", "DRYRUN", "chatws", *command) == b"OK"


async def test_without_replicas_nothing_is_written(redis: Redis) -> None:
    await confirmed(redis, 0)
    assert await redis.dbsize() == 0

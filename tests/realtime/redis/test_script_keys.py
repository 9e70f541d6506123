"""Scripts use no key but those in KEYS: clusters, Dragonfly and serverless offers refuse any other."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from realtime.conf import RealtimeConf
from realtime.exceptions import RealtimeError
from realtime.feeds.log import FeedLog, Position
from realtime.redis import keys
from realtime.redis.scripts import Script
from tests.realtime.redis.test_script_rules import SCRIPTS
from tests.realtime.redis.test_script_stops import CASES, FEED, TOPIC, Act, Case

ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"')
SECONDS = 60.0


async def read_tail(redis: Any, conf: RealtimeConf) -> Act:
    feeds = FeedLog(redis, conf)
    [place] = await feeds.append(FEED, TOPIC, [("1-0", "p1", b"\x01")])
    return lambda: feeds.tail(FEED, Position(place.epoch, 0), 1, 10, 1_000)


async def revoke(redis: Any, conf: RealtimeConf) -> Act:
    of_all = [keys.revoked(), keys.revoked_version(), keys.revoked_news()]
    return lambda: Script("auth_revoke").run(redis, of_all, ["1:version", "", "user:7", 1, 2])


async def give(redis: Any, conf: RealtimeConf) -> Act:
    return lambda: Script("limit_give").run(redis, [keys.login_limit("x")], [1, 1])


async def publish_messages(redis: Any, conf: RealtimeConf) -> Act:
    return lambda: Script("layer_publish").run(redis, [], ["channel", "message"])


ALL_CASES = {
    **CASES,
    "range": Case(read_tail),
    "revoke": Case(revoke),
    "messages": Case(publish_messages),
    "give": Case(give),
}


@asynccontextmanager
async def monitor(url: str) -> AsyncIterator[asyncio.StreamReader]:
    """Give the lines of Redis's MONITOR: each command that it runs."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(b"MONITOR\r\n")
        assert await reader.readline() == b"+OK\r\n"
        yield reader
    finally:
        writer.close()


async def keys_of(redis: Any, command: list[str]) -> set[str]:
    """Return the keys of a command, as Redis itself sees them."""
    try:
        return set(await redis.execute_command("COMMAND GETKEYS", *command))
    except RealtimeError as error:
        assert "no key arguments" in str(error)
        return set()


async def undeclared(redis: Any, reader: asyncio.StreamReader) -> tuple[set[str], set[str]]:
    """Return the digests of the scripts that ran until now, and the keys that they used without declaring them."""
    await redis.echo("the end")
    digests: set[str] = set()
    found: set[str] = set()
    declared: set[str] = set()
    used: dict[str, set[str]] = {}
    async with asyncio.timeout(SECONDS):
        while True:
            line = (await reader.readline()).decode()
            command = ARGUMENT.findall(line)
            if command[0].upper() == "ECHO":
                return digests, found
            if command[0].upper() == "EVALSHA":
                digests.add(command[1])
                declared = set(command[3 : 3 + int(command[2])])
            elif " lua] " in line:
                called = line.partition(" lua] ")[2]
                if called not in used:
                    used[called] = await keys_of(redis, command)
                found |= used[called] - declared


@pytest.mark.parametrize("name", ALL_CASES)
async def test_script_uses_declared_keys_only(name: str, redis: Any, conf: RealtimeConf) -> None:
    async with monitor(conf.redis_url) as reader:
        await (await ALL_CASES[name].prepare(redis, conf))()
        digests, found = await undeclared(redis, reader)
    assert digests
    assert found == set()


async def test_every_script_is_checked(redis: Any, conf: RealtimeConf) -> None:
    seen: set[str] = set()
    async with monitor(conf.redis_url) as reader:
        for case in ALL_CASES.values():
            await redis.flushall()
            await (await case.prepare(redis, conf))()
            digests, _ = await undeclared(redis, reader)
            seen |= digests
    main = [script.stem for script in SCRIPTS if script.read_text().startswith("#!lua")]
    assert {Script(name)._digest for name in main} <= seen

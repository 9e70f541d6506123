"""Check a short soak; `make proofs` runs for minutes with production's timers."""

from pathlib import Path

import pytest

from tests.faults.census import Living, take
from tests.faults.soak import Soak, grown, left_behind
from tests.support.redis import Redis


@pytest.mark.ours_only
async def test_closed_connections_leave_nothing_behind(tmp_path: Path) -> None:
    soak = Soak(tmp_path, users=60, groups=12, settings="tests.faults.quick_settings")
    before, after = await soak.run(most=400)
    assert soak.connections >= 400
    assert soak.acked > 0
    assert (before.feeds, after.feeds) == (0, 0)
    assert soak.taken
    assert left_behind(soak, before, after) == []
    assert grown(before, after) == []


async def test_census_finds_what_is_unknown_too_much_or_without_expiry(redis: Redis) -> None:
    living = Living(users=2, groups=1, topics=1, connections=0, processes=1, log=3)
    await redis.sadd("chatws:topics", "chat.message.new")
    await redis.hset("chatws:{user:7}:meta", mapping={"epoch": "e"})
    await redis.expire("chatws:{user:7}:meta", 100)
    assert (await take(redis, living)).problems == []
    await redis.set("chatws:{chat.message.old}:token", 1)
    await redis.hset("chatws:{group:a-b}:meta", mapping={"epoch": "e"})
    await redis.rpush("chatws:{group:g}:log", *"abcd")
    await redis.expire("chatws:{group:g}:log", 100)
    await redis.zadd("chatws:user:7", {"connection": 1})
    await redis.expire("chatws:user:7", 100)
    assert sorted((await take(redis, living)).problems) == [
        "chatws:user:#: 1 keys instead of at most 0",
        "chatws:user:7 has 1 elements instead of at most 0",
        "chatws:{group:a-b}:meta has no expiry",
        "chatws:{group:g}:log has 4 elements instead of at most 3",
        "unknown key: chatws:{chat.message.old}:token",
    ]

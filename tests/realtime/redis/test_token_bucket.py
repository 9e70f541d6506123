"""Check what the limits of users leave in Redis."""

import asyncio
from typing import Any

from realtime.redis.token_bucket import UserLimit

USERS = 1_000


async def test_buckets_of_users_are_small_and_expire(redis: Any) -> None:
    limit = UserLimit(redis, "sends", rate=0.1, burst_seconds=1_000)
    for _ in range(3):
        await asyncio.gather(*(limit.take(user) for user in range(2**64 - USERS, 2**64)))
    found = await redis.keys("*")
    assert len(found) == USERS
    assert all([0 < await redis.pttl(key) <= 31_000 for key in found]), "the time to be full again, and a second"
    assert sum([await redis.memory_usage(key) for key in found]) < 200 * USERS

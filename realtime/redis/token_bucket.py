"""Limit the rate of a user's actions over all gateways, with a token bucket in Redis."""

from collections.abc import Sequence

from realtime.aio.coalesce import TurnBatch
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.scripts import Script

_limit_take = Script("limit_take")


class UserLimit:
    """A limit of actions per second for each user, over all devices and gateways.

    All calls of one turn of the event loop take one round trip. A ``rate`` of 0 means no limit.
    """

    def __init__(self, redis: Redis, name: str, rate: float, burst_seconds: float) -> None:
        self._redis = redis
        self._name = name
        self._rate = rate
        self._burst = max(1.0, rate * burst_seconds)
        self._takes: TurnBatch[int, float] = TurnBatch(self._take_all, f"limit {name}")

    async def take(self, user_id: int) -> float:
        """Count one action and return 0.0, or return the seconds to wait; raise what Redis raises."""
        if not self._rate:
            return 0.0
        return await self._takes.ask(user_id)

    async def _take_all(self, user_ids: Sequence[int]) -> Sequence[float]:
        calls: list[tuple[list[str], list[str | int | float]]] = [
            ([keys.limit(self._name, user_id)], [self._rate, self._burst]) for user_id in user_ids
        ]
        return [int(wait) / 1000 for wait in await _limit_take.run_all(self._redis, calls)]

"""How much one user may do over all gateways: a token bucket in Redis."""

import asyncio

from realtime.aio import tasks
from realtime.redis import keys
from realtime.redis.client import Redis
from realtime.redis.scripts import Script

_allow = Script("limit_take")


class UserLimit:
    """What one user may do a second, over all its devices and gateways: a bucket in Redis for each user.

    All that are asked for in one turn of the loop take one round trip.
    """

    def __init__(self, redis: Redis, name: str, rate: float, burst_seconds: float) -> None:
        self._redis = redis
        self._name = name
        self._rate = rate
        self._burst = max(1.0, rate * burst_seconds)
        self._asked: list[tuple[int, asyncio.Future[float]]] = []

    async def take(self, user_id: int) -> float:
        """Count one: 0.0, or the seconds to wait. Raises what Redis raises."""
        if not self._rate:
            return 0.0
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._ask_all)
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._asked.append((user_id, answer))
        return await answer

    def _ask_all(self) -> None:
        asked, self._asked = self._asked, []
        tasks.spawn(self._answer_all(asked), f"limit {self._name}")

    async def _answer_all(self, asked: list[tuple[int, asyncio.Future[float]]]) -> None:
        calls: list[tuple[list[str], list[str | int | float]]] = [
            ([keys.limit(self._name, user_id)], [self._rate, self._burst]) for user_id, _ in asked
        ]
        try:
            waits = await _allow.run_all(self._redis, calls)
        except BaseException as error:
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error if isinstance(error, Exception) else ConnectionError(repr(error)))
                    answer.exception()  # nobody may be waiting any more
            if not isinstance(error, Exception):
                raise
            return
        for (_, answer), wait in zip(asked, waits, strict=True):
            if not answer.done():
                answer.set_result(int(wait) / 1000)

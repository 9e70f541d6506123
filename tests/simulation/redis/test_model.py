"""The model of Redis answers as a real server does."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings

from tests.simulation.redis.comparison import Both
from tests.simulation.redis.histories import Step, histories
from tests.support.redis import RedisServer

ONCE = settings(
    max_examples=80, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.fixture
def port(redis_server: RedisServer) -> int:
    return redis_server.port


@ONCE
@given(history=histories())
def test_histories_are_answered_alike(port: int, history: Sequence[Step]) -> None:
    both = Both(port, connections=3)
    try:
        both.run([b"HELLO", b"3"], on=1)
        for step in history:
            if isinstance(step, float):
                both.jump(step)
            else:
                on, words = step
                both.run(words, on)
        both.compare_all()
    finally:
        both.close()

"""The model of Redis answers as a real server does."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings

from tests.simulation.redis.comparison import Both, Words
from tests.simulation.redis.histories import Step, histories
from tests.simulation.redis.script_histories import NAMES, SCRIPTS, Call, script_histories
from tests.support.redis import RedisServer

ONCE = settings(
    max_examples=50, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.fixture
def port(redis_server: RedisServer) -> int:
    return redis_server.port


@ONCE
@given(history=script_histories())
def test_scripts_are_answered_alike(port: int, history: Sequence[Call | Words]) -> None:
    both = Both(port, connections=2)
    try:
        both.run([b"SUBSCRIBE", b"one"], on=1)
        for step in history:
            if isinstance(step, tuple):
                both.run_script(*step)
            else:
                both.run(step)
        both.compare_all()
    finally:
        both.close()


def test_every_script_is_compared() -> None:
    assert sorted(SCRIPTS) == NAMES


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

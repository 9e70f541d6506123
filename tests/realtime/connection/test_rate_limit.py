"""Check rate limits to the second, with a manual clock; tests/contract/test_limits.py uses real sockets."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from django.conf import settings

from realtime.connection import rate_limit
from realtime.connection.rate_limit import FrameLimit


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limit, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_frames_over_the_rate_wait_and_are_counted(clock: Clock) -> None:
    limit = FrameLimit(replace(settings.REALTIME, frames_per_second=2, bytes_per_second=0, burst_seconds=2))
    assert [limit.take(10) for _ in range(4)] == [None] * 4
    assert limit.take(10) == ("frames", 0.5)
    clock.now += 0.5
    assert limit.take(10) is None


def test_eleven_rejections_in_a_minute_count_as_flooding(clock: Clock) -> None:
    limit = FrameLimit(replace(settings.REALTIME, refusals_per_minute=10))
    assert [limit.exceeded() for _ in range(11)] == [False] * 10 + [True]
    clock.now += 6
    assert [limit.exceeded() for _ in range(2)] == [False, True]

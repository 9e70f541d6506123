"""Limits to the second, by a clock that the test moves; tests/contract/test_limits.py has them on real sockets."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from django.conf import settings

from realtime import limits
from realtime.aio.bucket import Bucket
from realtime.limits import FrameLimit


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = Bucket(rate=2, burst=4)
    assert [bucket.take(1, 100.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert bucket.take(1, 100.25) == 0.25
    assert bucket.take(1, 100.5) == 0
    assert [bucket.take(1, 200.0) for _ in range(5)] == [0, 0, 0, 0, 0.5], "it holds no more than its burst"


def test_more_than_a_full_bucket_is_taken_once_and_owed() -> None:
    bucket = Bucket(rate=1_000, burst=2_000)
    assert bucket.take(3_000, 100.0) == 0
    assert bucket.take(500, 100.0) == 1.5
    assert bucket.take(500, 101.5) == 0


def test_frames_over_the_rate_wait_and_are_counted_by_name(clock: Clock) -> None:
    limit = FrameLimit(replace(settings.REALTIME, frames_per_second=2, bytes_per_second=0, burst_seconds=2))
    assert [limit.take(10) for _ in range(4)] == [None] * 4
    assert limit.take(10) == ("frames", 0.5)
    clock.now += 0.5
    assert limit.take(10) is None


def test_who_is_refused_eleven_times_in_a_minute_keeps_on(clock: Clock) -> None:
    limit = FrameLimit(replace(settings.REALTIME, refusals_per_minute=10))
    assert [limit.keeps_on() for _ in range(11)] == [False] * 10 + [True]
    clock.now += 6
    assert [limit.keeps_on() for _ in range(2)] == [False, True]

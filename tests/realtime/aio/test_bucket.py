"""Check the token bucket with times given by the test."""

from realtime.aio.bucket import Bucket


def test_bucket_returns_the_seconds_to_wait() -> None:
    bucket = Bucket(rate=2, burst=4)
    assert [bucket.take(1, 100.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert bucket.take(1, 100.25) == 0.25
    assert bucket.take(1, 100.5) == 0
    assert [bucket.take(1, 200.0) for _ in range(5)] == [0, 0, 0, 0, 0.5], "it holds no more than its burst"


def test_bucket_may_overdraw_once() -> None:
    bucket = Bucket(rate=1_000, burst=2_000)
    assert bucket.take(3_000, 100.0) == 0
    assert bucket.take(500, 100.0) == 1.5
    assert bucket.take(500, 101.5) == 0

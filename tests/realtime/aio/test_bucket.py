"""Check the token bucket with times given by the test."""

from realtime.aio.bucket import Bucket, KeyedBuckets


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


def test_each_key_has_its_bucket() -> None:
    buckets = KeyedBuckets(rate=1, burst_seconds=2)
    assert [buckets.take("a", 1, 100.0) for _ in range(3)] == [0, 0, 1]
    assert buckets.take("b", 1, 100.0) == 0
    assert KeyedBuckets(rate=0, burst_seconds=2).take("a", 1_000, 100.0) == 0


def test_number_of_keyed_buckets_is_bounded() -> None:
    buckets = KeyedBuckets(rate=1, burst_seconds=1, most=3)
    for key in "abcd":
        buckets.take(key, 1, 100.0)
        assert buckets.take("a", 1, 100.0) == 1, "a bucket in use is kept"
    assert len(buckets) == 3
    assert buckets.take("b", 1, 100.0) == 0, "the longest unused was forgotten"

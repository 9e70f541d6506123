"""Token buckets that limit rates."""

from collections import OrderedDict


class Bucket:
    """A token bucket: it gains ``rate`` tokens a second and holds at most ``burst``."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, amount: float, now: float) -> float:
        """Take ``amount`` tokens and return 0.0; if there are too few, take none and return the seconds to wait.

        A full bucket gives more than it holds; the balance is then negative.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        lacking = min(amount, self._burst) - self._tokens
        if lacking > 0:
            return lacking / self._rate
        self._tokens -= amount
        return 0.0


def bucket_of(rate: float, burst_seconds: float) -> Bucket | None:
    """Return a bucket that holds ``burst_seconds`` of its rate, at least 1 token; None for rate 0 (no limit)."""
    return Bucket(rate, max(1.0, rate * burst_seconds)) if rate else None


class KeyedBuckets:
    """A bucket for each key. At most ``most`` are kept; the one that was not used for the longest time is forgotten."""

    def __init__(self, rate: float, burst_seconds: float, most: int = 10_000) -> None:
        self._rate = rate
        self._burst_seconds = burst_seconds
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, key: str, amount: float, now: float) -> float:
        """Take from the key's bucket; see `Bucket.take`. Rate 0 is no limit."""
        bucket = self._buckets.get(key) or bucket_of(self._rate, self._burst_seconds)
        if bucket is None:
            return 0.0
        self._buckets[key] = bucket
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket.take(amount, now)

    def __len__(self) -> int:
        return len(self._buckets)

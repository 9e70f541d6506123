"""A token bucket that limits a rate."""


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

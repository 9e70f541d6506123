"""A token bucket: how fast something may happen."""


class Bucket:
    """A token bucket: ``rate`` tokens a second flow in until it holds ``burst``."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, amount: float, now: float) -> float:
        """Take tokens: 0.0, or the seconds until as many are there, with nothing taken.

        More than the bucket holds can be taken once it is full; then it owes the rest.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        lacking = min(amount, self._burst) - self._tokens
        if lacking > 0:
            return lacking / self._rate
        self._tokens -= amount
        return 0.0


def bucket_of(rate: float, burst_seconds: float) -> Bucket | None:
    return Bucket(rate, max(1.0, rate * burst_seconds)) if rate else None

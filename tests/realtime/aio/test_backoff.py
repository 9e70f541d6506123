"""Check the waits between attempts."""

from realtime.aio.backoff import Backoff


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(1.0, 5.0)
    assert [backoff.take() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_reset_starts_with_the_first_wait() -> None:
    backoff = Backoff(1.0, 5.0)
    backoff.take()
    assert backoff.wait == 2.0
    backoff.reset()
    assert backoff.take() == 1.0

"""Check the limit of log records: of one statement, in count and in length."""

import logging

import pytest

from realtime.observability import log_limit
from realtime.observability.log_limit import MAX_CHARACTERS, MAX_PER_MINUTE, LogLimit

FLOOD = MAX_PER_MINUTE + 50


class Clock:
    """A monotonic clock that the test sets."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(log_limit, "time", clock)
    return clock


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Log through the filter; return the list that collects the messages."""
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Handler()
    handler.addFilter(LogLimit())
    logger = logging.getLogger("flooded")
    logger.handlers = [handler]
    return messages


def say(about: object) -> None:
    logging.getLogger("flooded").warning("a client sent %s", about)


def test_flood_of_one_statement_is_bounded(clock: Clock, lines: list[str]) -> None:
    for number in range(FLOOD):
        say(number)
    assert len(lines) == MAX_PER_MINUTE
    logging.getLogger("flooded").error("another statement")
    assert lines[-1] == "another statement"


def test_next_record_says_how_many_were_dropped(clock: Clock, lines: list[str]) -> None:
    for number in range(FLOOD):
        say(number)
    clock.now += 60
    say("the next")
    say("one more")
    assert lines[-2:] == [
        f"a client sent the next (before it, {FLOOD - MAX_PER_MINUTE} like it were not logged)",
        "a client sent one more",
    ]


def test_record_with_wrong_arguments_harms_no_caller(clock: Clock) -> None:
    """A filter that raises would raise in the code that logs; a handler reports such a record by itself."""
    record = logging.LogRecord("some.library", logging.INFO, "library.py", 1, "%d frames", ("two",), None)
    assert LogLimit().filter(record)


def test_long_message_is_cut(clock: Clock, lines: list[str]) -> None:
    say("x" * 1_000_000)
    assert len(lines[0]) < MAX_CHARACTERS + 100

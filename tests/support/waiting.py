"""Wait for expected events. The limit is no measurement: it only turns a hang into a failure that names the missing
event."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

LIMIT = 120.0
"""Seconds after which a wait counts as a hang: much more than a slow and busy machine needs."""
LOOK_SECONDS = 0.05
"""Seconds between two looks at a state that does not announce its changes."""

T = TypeVar("T")


class _Look:
    """One wait: its deadline and the failure's message."""

    def __init__(self, what: str, limit: float) -> None:
        self._what = what
        self._limit = limit
        self._deadline = time.monotonic() + limit

    def check(self, seen: object) -> None:
        """Raise AssertionError once the limit has passed."""
        if time.monotonic() >= self._deadline:
            raise AssertionError(f"not within {self._limit:g} s: {self._what}; seen last: {seen!r:.2000}")


async def until(look: Callable[[], T], is_wanted: Callable[[T], object] = bool, what: str = "it holds") -> T:
    """Return the result of ``look`` as soon as it is wanted, by default as soon as it is true."""
    wait = _Look(what, LIMIT)
    while not is_wanted(seen := look()):
        wait.check(seen)
        await asyncio.sleep(LOOK_SECONDS)
    return seen


async def until_answer(
    ask: Callable[[], Awaitable[T]], is_wanted: Callable[[T], object] = bool, what: str = "the wanted answer"
) -> T:
    """Return the first wanted answer; call ``ask`` again after any other answer."""
    wait = _Look(what, LIMIT)
    while not is_wanted(seen := await ask()):
        wait.check(seen)
        await asyncio.sleep(LOOK_SECONDS)
    return seen


async def until_news(news: asyncio.Event, look: Callable[[], T], what: str = "it holds") -> T:
    """Return the result of ``look`` once it is true; it is called at the start and after each ``news``."""
    try:
        async with asyncio.timeout(LIMIT):
            while not (seen := look()):
                news.clear()
                await news.wait()
    except TimeoutError:
        raise AssertionError(f"not within {LIMIT:g} s: {what}; seen last: {look()!r:.2000}") from None
    return seen


def wait_until(
    look: Callable[[], T], is_wanted: Callable[[T], object] = bool, what: str = "it holds", limit: float = LIMIT
) -> T:
    """Wait as `until` does, in a thread or a test without a loop; ``limit`` allows a longer wait."""
    wait = _Look(what, limit)
    while not is_wanted(seen := look()):
        wait.check(seen)
        time.sleep(LOOK_SECONDS)
    return seen


async def until_logged(log: Path, text: str, count: int = 1) -> list[str]:
    """Return the complete lines of a log with this text once there are so many."""

    def lines() -> list[str]:
        return [line for line in log.read_text().splitlines(keepends=True) if text in line and line.endswith("\n")]

    return await until(lines, lambda found: len(found) >= count, f"{count} line(s) with {text!r} in {log.name}")

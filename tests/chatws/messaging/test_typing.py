"""Check typing: it is announced at a limited rate and expires."""

import asyncio
from types import SimpleNamespace

import pytest

from chatws.exceptions import FrameError
from chatws.messaging import typing
from chatws.messaging.typing import Typist
from tests.support.waiting import until_news


class Others:
    """The other members, which record the announcements."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.news = asyncio.Event()

    def __call__(self, group_id: str, typing: bool) -> None:
        self.told.append((group_id, typing))
        self.news.set()


async def test_typing_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typing, "EXPIRES_SECONDS", 0.05)
    others = Others()
    Typist(others).set("g", typing=True)
    await until_news(others.news, lambda: len(others.told) == 2)
    assert others.told == [("g", True), ("g", False)]


async def test_repeated_typing_is_announced_only_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typing, "AGAIN_SECONDS", 1e6)
    others = Others()
    typist = Typist(others)
    for _ in range(1_000):
        typist.set("g", typing=True)
    assert others.told == [("g", True)]
    monkeypatch.setattr(typing, "AGAIN_SECONDS", 0.0)
    typist.set("g", typing=True)
    assert others.told == [("g", True), ("g", True)]
    typist.set("g", typing=False)
    typist.set("g", typing=False)
    assert others.told[2:] == [("g", False)]


async def test_each_repeat_postpones_the_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    others = Others()
    typist = Typist(others)
    monkeypatch.setattr(typing, "EXPIRES_SECONDS", 0.05)
    typist.set("g", typing=True)
    monkeypatch.setattr(typing, "EXPIRES_SECONDS", 60.0)
    typist.set("g", typing=True)
    typist.set("short", typing=True)
    monkeypatch.setattr(typing, "EXPIRES_SECONDS", 0.1)
    typist.set("short", typing=True)
    await until_news(others.news, lambda: ("short", False) in others.told)
    assert ("g", False) not in others.told
    typist.end_all()
    assert others.told[-1] == ("g", False)


async def test_rate_limited_typing_still_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typing, "EXPIRES_SECONDS", 0.05)
    monkeypatch.setattr(typing, "time", SimpleNamespace(monotonic=lambda: 1e6))  # the rate limit does not refill
    others = Others()
    typist = Typist(others)
    for _ in range(4):
        typist.set("g", typing=True)
        typist.set("g", typing=False)
    for group_id in ("g", "other"):
        typist.set(group_id, typing=True)
    with pytest.raises(FrameError) as refused:
        typist.set("g", typing=False)
    assert (refused.value.code, refused.value.retry_after) == (429, 1)
    with pytest.raises(FrameError):
        typist.set("third", typing=True)
    assert len(others.told) == 10
    await until_news(others.news, lambda: len(others.told) == 12)
    assert sorted(others.told[10:]) == [("g", False), ("other", False)]

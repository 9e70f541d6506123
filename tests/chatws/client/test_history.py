"""Check that paging through either kind of history loses and repeats no message."""

from collections.abc import Sequence
from typing import Any

import pytest

from chatws.client import ChatClient, Frame
from tests.support.histories import SECOND, ByPlace, BySecond, Histories


class Asking(ChatClient):
    """A client whose requests are answered by a history."""

    def __init__(self, history: Histories) -> None:
        super().__init__("ws://127.0.0.1:1/ws", token="")
        self._history = history
        self.requests = 0

    async def request(self, kind: str, data: Frame) -> Frame:
        self.requests += 1
        found = await self._history.message_history(data["group_id"], data["before_id"], data["limit"])
        messages = [{"message_id": one.message_id, "created_at": str(one.created_at)} for one in found.messages]
        return {"messages": messages, "has_more": found.has_more}


@pytest.mark.parametrize("kind", [ByPlace, BySecond])
@pytest.mark.parametrize("limit", [20, 50])
@pytest.mark.parametrize(
    "seconds",
    [
        [], [SECOND], range(SECOND, SECOND + 130), [SECOND + n // 3 for n in range(130)],
        [SECOND + n // 40 for n in range(200)], [SECOND] * 70, [*range(SECOND, SECOND + 30), *[SECOND + 30] * 45],
    ],
)  # fmt: skip
async def test_whole_history_is_returned_once(kind: type[Histories], limit: int, seconds: Sequence[int]) -> None:
    client = Asking(kind(seconds))
    known: list[Any] = []
    more = True
    while more:
        page = await client.history("g", known=known, limit=limit)
        known += page["messages"]
        more = page["has_more"]
        assert page["messages"] or not more
    assert [message["message_id"] for message in known] == [f"m{n}" for n in reversed(range(len(seconds)))]


async def test_page_before_a_message_has_nothing_newer() -> None:
    client = Asking(BySecond([SECOND + n // 3 for n in range(130)]))
    known = [{"message_id": "m60", "created_at": SECOND + 20}]
    page = await client.history("g", known=known, limit=5)
    assert [message["message_id"] for message in page["messages"]] == ["m59", "m58", "m57", "m56", "m55"]


async def test_history_by_place_allows_unordered_times() -> None:
    """Read a history with unordered times, as after an import or with differing clocks."""
    client = Asking(ByPlace([SECOND + (n * 37) % 100 for n in range(130)]))
    known: list[Any] = []
    more = True
    while more:
        page = await client.history("g", known=known, limit=50)
        known += page["messages"]
        more = page["has_more"]
    assert [message["message_id"] for message in known] == [f"m{n}" for n in reversed(range(130))]

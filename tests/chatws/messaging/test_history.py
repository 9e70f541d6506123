"""Check what is shown of stored messages."""

from types import SimpleNamespace
from typing import Any

import pytest

from chatws.chat_service.port import History, Message
from chatws.messaging.history import history


def stored(number: int, size: int) -> Message:
    return Message(f"m{number}", "g", 1, "", 1, "x" * size, "", 1, 1_700_000_000)


@pytest.mark.parametrize(
    ("sizes", "shown", "has_more"),
    [([10, 10, 10], 3, False), ([60, 30, 20, 1], 2, True), ([500, 1], 1, True), ([500], 1, False), ([], 0, False)],
)
async def test_page_of_long_texts_is_cut_to_what_a_client_can_take(
    sizes: list[int], shown: int, has_more: bool
) -> None:
    async def message_history(group_id: str, before_id: str, limit: int) -> History:
        return History([stored(number, size) for number, size in enumerate(sizes)], has_more=False)

    async def no_names(user_ids: Any) -> dict[int, Any]:
        return {}

    chat: Any = SimpleNamespace(message_history=message_history)
    names: Any = SimpleNamespace(of=no_names)
    page = await history(chat, names, "g", "", 20, max_bytes=100)
    assert ([message.message_id for message in page.messages], page.has_more) == (
        [f"m{number}" for number in range(shown)],
        has_more,
    )

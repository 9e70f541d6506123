"""Page through a chat group's history without leaving out a message."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from chatws.client.events import Frame

MOST = 100
"""Messages of a page."""

Ask = Callable[[str, int], Awaitable[Frame]]
"""Asks the server for so many messages before an id."""


async def older_messages(ask: Ask, known: Sequence[Mapping[str, Any]], limit: int) -> Frame:
    """Messages before the oldest of ``known`` (newest first).

    Some services take an id for the whole second of that message; asked from a later second on they leave out nothing.
    """
    oldest, seconds = known[-1], [int(message["created_at"]) for message in known]
    later = max((place for place, second in enumerate(seconds) if second > seconds[-1]), default=-1)
    before_id = known[later]["message_id"] if later >= 0 else ""
    found = await ask(before_id, min(limit + len(known) - 1 - later, MOST))
    ids = {message["message_id"] for message in known}
    behind = max((n for n, message in enumerate(found["messages"]) if message["message_id"] in ids), default=-1)
    messages = [
        message
        for n, message in enumerate(found["messages"])
        if (n > behind or int(message["created_at"]) == seconds[-1]) and message["message_id"] not in ids
    ]
    if behind < 0 or (not messages and found["has_more"]):
        return await ask(oldest["message_id"], limit)
    return {**found, "messages": messages}

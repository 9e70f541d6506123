"""Page through a chat group's history without a gap."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from chatws.client.events import Frame

MAX_PAGE = 100
"""Most messages of a page."""

Ask = Callable[[str, int], Awaitable[Frame]]
"""Requests messages from the server: those before an id, and how many."""


async def older_messages(ask: Ask, known: Sequence[Mapping[str, Any]], limit: int) -> Frame:
    """Return messages before the oldest of ``known`` (newest first).

    Some services leave out all messages of the second of the given id. So the request uses a known message of a later
    second, and known messages are removed from the answer.
    """
    oldest, seconds = known[-1], [_second(message) for message in known]
    later = max((position for position, second in enumerate(seconds) if second > seconds[-1]), default=-1)
    before_id = known[later]["message_id"] if later >= 0 else ""
    found = await ask(before_id, min(limit + len(known) - 1 - later, MAX_PAGE))
    ids = {message["message_id"] for message in known}
    behind = max((n for n, message in enumerate(found["messages"]) if message["message_id"] in ids), default=-1)
    messages = [
        message
        for n, message in enumerate(found["messages"])
        if (n > behind or _second(message) == seconds[-1]) and message["message_id"] not in ids
    ]
    if behind < 0 or (not messages and found["has_more"]):
        return await ask(oldest["message_id"], limit)
    return {**found, "messages": messages}


def _second(message: Mapping[str, Any]) -> int:
    """Return a message's time; 0 if it has none that can be read, so that one bad message hides no other."""
    try:
        return int(message["created_at"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0

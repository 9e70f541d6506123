"""Find out from the history whether the chat service has stored a message; an error of the store call does not say."""

from collections.abc import Sequence

from chatws.chat_service.port import PAGE_SIZE, UNAVAILABLE, ChatGateway, ChatServiceUnavailable, Message, Refused

UNKNOWN_ID = 400, 404
"""Codes of a chat service that rejects a ``before_id`` that it has not stored."""
LAG_SECONDS = 60
"""The assumed bound of the clock difference, plus the lag of the chat service's database replica."""
MAX_PAGES = 30
"""How many pages of the history are searched."""


async def is_stored(chat: ChatGateway, group_id: str, message_id: str, since: int) -> bool:
    """Return whether a message is in its chat group's history.

    ``since`` (Unix seconds) is the time of this attempt; the first attempt may be much older. First the messages since
    then are searched. If the message is not among them, the messages before its id are requested: a service that has
    stored it returns older messages; another one returns an error or the newest messages.

    Raises:
        ChatServiceError: the history does not say whether the message is stored.
    """
    seen: dict[str, Message] = {}
    before, may_skip, until = "", False, float(since)
    for _ in range(MAX_PAGES):
        page = await _page(chat, group_id, before)
        seen |= {message.message_id: message for message in page}
        if message_id in seen:
            return True
        if not before and page:
            until = min(since, page[0].created_at) - LAG_SECONDS
        if len(page) < PAGE_SIZE or page[-1].created_at < until:
            break
        # Some services treat an id as its whole second. A page before an id of a later second skips no message.
        later = [message for message in page if message.created_at > page[-1].created_at]
        may_skip = may_skip or not later
        before = (later or page)[-1].message_id
    else:
        raise ChatServiceUnavailable(UNAVAILABLE, f"chat group {group_id} has too many messages to search")
    if len(page) < PAGE_SIZE and not may_skip:
        return False  # the whole history has been searched
    try:
        older = await _page(chat, group_id, message_id)
    except Refused as error:
        if error.code in UNKNOWN_ID:
            return False
        raise
    if not older or (not any(message.message_id in seen for message in older) and _is_older(older[0], seen)):
        return True
    if may_skip:
        raise ChatServiceUnavailable(
            UNAVAILABLE, f"chat group {group_id} has too many messages of one second to search"
        )
    return False


def _is_older(message: Message, seen: dict[str, Message]) -> bool:
    return message.created_at <= min(one.created_at for one in seen.values())


async def _page(chat: ChatGateway, group_id: str, before_id: str) -> Sequence[Message]:
    return (await chat.message_history(group_id, before_id, PAGE_SIZE)).messages

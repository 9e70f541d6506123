"""Whether the chat service has stored a message, found out from its history: after an error nothing else tells."""

from collections.abc import Sequence

from chatws.chat_service.port import PAGE_SIZE, UNAVAILABLE, ChatGateway, ChatServiceUnavailable, Message, Refused

NOT_THERE = 400, 404
"""With these a service that knows its messages answers when it is asked for those before one it hasn't."""
LAG_SECONDS = 60
"""How far a clock may be from another, and a replica of the chat service's database behind it."""
MAX_PAGES = 30


async def is_stored(chat: ChatGateway, group_id: str, message_id: str, since: int) -> bool:
    """Whether a message is in its chat group's history. It was first tried at ``since`` (Unix seconds), or long before.

    It is looked for among those of that time. If it isn't one of them it may be older: a service that has it answers
    with what lies before it; one that hasn't, with an error or the newest.

    Raises:
        ChatServiceError: it can't be found out.
    """
    seen: dict[str, Message] = {}
    before, leaves_out, until = "", False, float(since)
    for _ in range(MAX_PAGES):
        page = await _page(chat, group_id, before)
        seen |= {message.message_id: message for message in page}
        if message_id in seen:
            return True
        if not before and page:
            until = min(since, page[0].created_at) - LAG_SECONDS
        if len(page) < PAGE_SIZE or page[-1].created_at < until:
            break
        # Some services take an id for its whole second: what lies before one of a later second leaves out nothing.
        later = [message for message in page if message.created_at > page[-1].created_at]
        leaves_out = leaves_out or not later
        before = (later or page)[-1].message_id
    else:
        raise ChatServiceUnavailable(UNAVAILABLE, f"chat group {group_id} has too many messages to find one among them")
    if len(page) < PAGE_SIZE and not leaves_out:
        return False  # that was the whole history
    try:
        older = await _page(chat, group_id, message_id)
    except Refused as error:
        if error.code in NOT_THERE:
            return False
        raise
    if not older or (not any(message.message_id in seen for message in older) and _is_behind(older[0], seen)):
        return True
    if leaves_out:
        raise ChatServiceUnavailable(
            UNAVAILABLE, f"chat group {group_id} has too many messages of one second to find one among them"
        )
    return False


def _is_behind(message: Message, seen: dict[str, Message]) -> bool:
    return message.created_at <= min(one.created_at for one in seen.values())


async def _page(chat: ChatGateway, group_id: str, before_id: str) -> Sequence[Message]:
    return (await chat.message_history(group_id, before_id, PAGE_SIZE)).messages

"""Whether the chat service has stored a message, found out from its history: after an error nothing else tells."""

from chatws.rpc.gateway import PAGE_SIZE, ChatGateway, ChatServiceError

NOT_THERE = 400, 404
"""With these a service that knows its messages answers when it is asked for those before one it hasn't."""


async def is_stored(chat: ChatGateway, group_id: str, message_id: str) -> bool:
    """Whether a message is in its chat group's history, however long ago it came there.

    Raises:
        ChatServiceError: the history can't be had.
    """
    newest = (await chat.message_history(group_id, "", PAGE_SIZE)).messages
    if not newest or any(message.message_id == message_id for message in newest):
        return bool(newest)
    try:
        before = (await chat.message_history(group_id, message_id, PAGE_SIZE)).messages
    except ChatServiceError as error:
        if error.code in NOT_THERE:
            return False
        raise
    # Before a message that isn't there some services answer with the newest: with what we have just seen, or later.
    return not before or (
        newest[0].message_id not in {message.message_id for message in before}
        and before[0].created_at <= newest[0].created_at
    )

"""`mark_read`: how far the user has read a chat group."""

from collections.abc import Sequence

from chatws.chat_service.port import Unsupported
from chatws.protocol.frames import Ack, MarkRead, MessageRead, ServerData
from chatws.socket.session import Session


async def mark_read(session: Session, frame: MarkRead) -> Sequence[ServerData]:
    """Store the cursor if the chat service can, and tell the group how far the user has read, as it is stored.

    That is further than this message if another device of the user has read on.
    """
    group_id, message_id = frame.data.group_id, frame.data.message_id
    await session.require_member(group_id)
    try:
        read_up_to = await session.services.chat.mark_read(session.user_id, group_id, message_id)
    except Unsupported:
        read_up_to = ""
    session.broadcast(group_id, MessageRead(group_id, session.user_id, read_up_to or message_id))
    return [Ack(message_id)]

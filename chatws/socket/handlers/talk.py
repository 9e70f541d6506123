"""What people see of each other besides messages: `mark_read`, `typing`, `presence`; and `history`."""

from collections.abc import Sequence

from chatws.protocol.frames import Ack, AskHistory, AskPresence, MarkRead, ServerData, Typing
from chatws.socket.session import Session


async def mark_read(session: Session, frame: MarkRead) -> Sequence[ServerData]:
    """The user has read a chat group up to a message: stored where the chat service can, told to the group."""
    await session.require_member(frame.data.group_id)
    await session.mark_read(frame.data.group_id, frame.data.message_id)
    return [Ack(frame.data.message_id)]


async def typing(session: Session, frame: Typing) -> Sequence[ServerData]:
    """Tell the others of a chat group; nothing is answered."""
    await session.require_member(frame.data.group_id)
    session.typing(frame.data.group_id, typing=frame.data.typing)
    return []


async def presence(session: Session, frame: AskPresence) -> Sequence[ServerData]:
    """Who of a chat group is online."""
    await session.require_member(frame.data.group_id)
    return [await session.presence(frame.data.group_id)]


async def history(session: Session, frame: AskHistory) -> Sequence[ServerData]:
    """What was said in a chat group before a message."""
    await session.require_member(frame.data.group_id)
    return [await session.history(frame.data.group_id, frame.data.before_id, frame.data.limit)]

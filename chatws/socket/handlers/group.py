"""`join_group` and `leave_group`: which chat groups this connection hears. Neither changes a membership."""

from collections.abc import Sequence

from chatws.protocol.frames import JoinGroup, LeaveGroup, ServerData
from chatws.socket.session import Answer, Session


async def join_group(session: Session, frame: JoinGroup) -> Sequence[Answer]:
    """Hear a chat group that the user is in; with `resume`, what it said meanwhile comes first."""
    return await session.hear(frame.data.group_id, frame.data.resume)


async def leave_group(session: Session, frame: LeaveGroup) -> Sequence[ServerData]:
    """Stop hearing a chat group; in effect before the answer is written."""
    return [session.unsubscribe_group(frame.data.group_id)]

"""`join_group` and `leave_group`: which chat groups a connection receives. Neither changes a membership."""

from collections.abc import Sequence

from chatws.protocol.frames import GroupLeft, JoinGroup, LeaveGroup, ServerData
from chatws.socket.session import Session
from realtime.exceptions import FeedUnavailable


async def join_group(session: Session, frame: JoinGroup) -> Sequence[ServerData]:
    """Subscribe to a chat group of the user. With `resume`, what the client missed is sent first."""
    group_id = frame.data.group_id
    await session.require_member(group_id)
    if await session.subscriptions.join(group_id, frame.data.resume, frame.message_id):
        return []
    await session.require_member(group_id)
    raise FeedUnavailable("the feed is unavailable now")


async def leave_group(session: Session, frame: LeaveGroup) -> Sequence[ServerData]:
    """Unsubscribe from a chat group. Nothing of it follows the answer."""
    session.subscriptions.leave(frame.data.group_id)
    return [GroupLeft(frame.data.group_id)]

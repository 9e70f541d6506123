"""`presence`: who of a chat group is online."""

from collections.abc import Sequence

from chatws.chat_service.port import RETRY_AFTER_SECONDS
from chatws.exceptions import FrameError
from chatws.protocol.frames import AskPresence, PresentUser, PresentUsers, ServerData
from chatws.socket.session import Session
from realtime.exceptions import RedisUnavailable


async def presence(session: Session, frame: AskPresence) -> Sequence[ServerData]:
    """Answer with the members, those online first."""
    group_id = frame.data.group_id
    await session.require_member(group_id)
    try:
        found = await session.services.presence.of(group_id)
    except RedisUnavailable as error:
        raise FrameError(503, f"Redis is unavailable: {error}", retry_after=RETRY_AFTER_SECONDS) from error
    users = [PresentUser(user.user_id, user.connections, user.last_seen) for user in found.users]
    return [PresentUsers(group_id, users, found.total, found.total > len(users))]

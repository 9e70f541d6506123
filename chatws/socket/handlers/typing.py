"""`typing`: tell the others of a chat group that the user types."""

from collections.abc import Sequence

from chatws.protocol.frames import ServerData, Typing
from chatws.socket.session import Session


async def typing(session: Session, frame: Typing) -> Sequence[ServerData]:
    """Broadcast it. There is no answer."""
    await session.require_member(frame.data.group_id)
    session.set_typing(frame.data.group_id, typing=frame.data.typing)
    return []

"""`auth` on a connection that has authenticated already: the connection lives until the new token expires."""

from collections.abc import Sequence

from chatws.exceptions import FrameError
from chatws.protocol.frames import Auth, AuthFailed, ServerData
from chatws.socket.session import Session
from realtime.exceptions import AuthenticationError


async def renew(session: Session, frame: Auth) -> Sequence[ServerData]:
    """Take over a newer token of the same user. If it is not accepted, the old one stays."""
    if frame.data.resume is not None:
        raise FrameError(400, "data.resume: only counts for the first auth of a connection")
    try:
        principal = await session.connection.authenticate(frame.data.token)
    except AuthenticationError as error:
        return [AuthFailed(str(error), error.reason)]
    if principal.user_id != session.user_id:
        raise FrameError(403, "data.token: of another user")
    session.connection.renew(principal)
    return [session.renewed()]

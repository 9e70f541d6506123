"""`auth` on a connection that has authenticated already: its expiry moves."""

from collections.abc import Sequence

from chatws.exceptions import FrameError
from chatws.protocol.frames import Auth, AuthFailed, ServerData
from chatws.socket.session import Session
from realtime.exceptions import AuthenticationError


async def renew(session: Session, frame: Auth) -> Sequence[ServerData]:
    """A fresh token of the same user; a bad one leaves the old expiry."""
    if frame.data.resume is not None:
        raise FrameError(400, "data.resume: only counts for the first auth of a connection")
    try:
        principal = await session.authenticate(frame.data.token)
    except AuthenticationError as error:
        return [AuthFailed(str(error), error.reason)]
    if principal.user_id != session.user_id:
        raise FrameError(403, "data.token: of another user")
    return [session.renew(principal)]

"""`ping`: the client's own heartbeat."""

from collections.abc import Sequence

from chatws.protocol.frames import Ping, Pong, ServerData
from chatws.socket.session import Session


async def ping(session: Session, frame: Ping) -> Sequence[ServerData]:
    """Answer with `pong`."""
    return [Pong()]

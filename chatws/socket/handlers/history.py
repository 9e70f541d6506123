"""`history`: earlier messages of a chat group."""

from collections.abc import Sequence

from chatws.messaging.history import history as read_history
from chatws.protocol.frames import AskHistory, ServerData
from chatws.socket.session import Session

MAX_BYTES = 256 * 1024
"""Contents in one answer: a client that reads slowly must be able to take it (`CHATWS_OUTBOX_BYTES`)."""


async def history(session: Session, frame: AskHistory) -> Sequence[ServerData]:
    """Answer with a page of messages, newest first."""
    data, services = frame.data, session.services
    await session.require_member(data.group_id)
    chat, names = services.chat, services.names
    return [await read_history(chat, names, data.group_id, data.before_id, data.limit, MAX_BYTES)]

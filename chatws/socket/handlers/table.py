"""Which coroutine serves which frame of an authenticated connection."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from chatws.protocol.frames import (
    AskHistory,
    AskPresence,
    Auth,
    ClientFrame,
    JoinGroup,
    LeaveGroup,
    MarkRead,
    Ping,
    SendMessage,
    Typing,
)
from chatws.socket.handlers import auth, group, message, ping, talk
from chatws.socket.session import Answer, Session

Handler = Callable[[Session, Any], Awaitable[Sequence[Answer]]]

HANDLERS: Mapping[type[ClientFrame], Handler] = {
    Auth: auth.renew,
    Ping: ping.ping,
    SendMessage: message.send_message,
    JoinGroup: group.join_group,
    LeaveGroup: group.leave_group,
    MarkRead: talk.mark_read,
    Typing: talk.typing,
    AskPresence: talk.presence,
    AskHistory: talk.history,
}

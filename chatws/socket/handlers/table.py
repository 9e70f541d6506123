"""Map each frame of an authenticated connection to the coroutine that serves it."""

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
    ServerData,
    Typing,
)
from chatws.socket.handlers import auth, group, history, message, ping, presence, reading, typing
from chatws.socket.session import Session

Handler = Callable[[Session, Any], Awaitable[Sequence[ServerData]]]

HANDLERS: Mapping[type[ClientFrame], Handler] = {
    Auth: auth.renew,
    Ping: ping.ping,
    SendMessage: message.send_message,
    JoinGroup: group.join_group,
    LeaveGroup: group.leave_group,
    MarkRead: reading.mark_read,
    Typing: typing.typing,
    AskPresence: presence.presence,
    AskHistory: history.history,
}

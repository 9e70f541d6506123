"""The frames of the WebSocket protocol (docs/protocol.md), from clients and from the server.

Only `chatws.protocol.codec` decodes and encodes them. The docstrings are the texts of the generated documents.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

GroupId = Annotated[str, Meta(max_length=64, pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
MessageId = Annotated[str, Meta(max_length=64)]
Timestamp = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Text = Annotated[str, Meta(max_length=65_536)]
Url = Annotated[str, Meta(max_length=2_048)]


class Nothing(msgspec.Struct, frozen=True):
    """The data of a frame without data."""


class ResumePoint(msgspec.Struct, frozen=True):
    """The epoch and offset of the last publication of a feed that a client received."""

    epoch: Annotated[str, Meta(max_length=64)]
    offset: Offset


class AuthData(msgspec.Struct, frozen=True):
    """A token; ``resume`` holds the client's last position in each feed."""

    token: str
    resume: dict[str, ResumePoint] | None = None


class SendMessageData(msgspec.Struct, frozen=True):
    """A text (1 to 5,000 characters, at least one of them visible) or an image (an absolute http or https URL)."""

    group_id: GroupId
    msg_type: Literal[1, 2]
    content: Text = ""
    image_url: Url = ""


class GroupData(msgspec.Struct, frozen=True):
    """A chat group."""

    group_id: GroupId


class JoinGroupData(msgspec.Struct, frozen=True):
    """A chat group; ``resume`` is the client's last position in its feed."""

    group_id: GroupId
    resume: ResumePoint | None = None


class MarkReadData(msgspec.Struct, frozen=True):
    """The last message that the user has read in a chat group."""

    group_id: GroupId
    message_id: Annotated[str, Meta(min_length=1, max_length=64)]


class TypingData(msgspec.Struct, frozen=True):
    """Whether the user is typing in a chat group."""

    group_id: GroupId
    typing: bool


class HistoryData(msgspec.Struct, frozen=True):
    """Which messages to return: those before ``before_id`` (empty: the newest)."""

    group_id: GroupId
    before_id: MessageId = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class _ClientFrame(msgspec.Struct, frozen=True, tag_field="type"):
    message_id: MessageId = ""
    timestamp: Timestamp = 0


class Ping(_ClientFrame, frozen=True, tag="ping"):
    """Check whether the server answers."""

    data: Nothing = Nothing()


class Auth(_ClientFrame, frozen=True, tag="auth", kw_only=True):
    """Authenticate: the first frame, or later a new token of the same user."""

    data: AuthData


class SendMessage(_ClientFrame, frozen=True, tag="send_message", kw_only=True):
    """Send a message to a chat group; the server acknowledges it once it is stored."""

    data: SendMessageData


class JoinGroup(_ClientFrame, frozen=True, tag="join_group", kw_only=True):
    """Subscribe this connection to a chat group of the user."""

    data: JoinGroupData


class LeaveGroup(_ClientFrame, frozen=True, tag="leave_group", kw_only=True):
    """Unsubscribe this connection from a chat group."""

    data: GroupData


class MarkRead(_ClientFrame, frozen=True, tag="mark_read", kw_only=True):
    """Mark a chat group as read up to a message."""

    data: MarkReadData


class Typing(_ClientFrame, frozen=True, tag="typing", kw_only=True):
    """Notify the other members that the user started or stopped typing; the server replies only with an error."""

    data: TypingData


class AskPresence(_ClientFrame, frozen=True, tag="presence", kw_only=True):
    """Ask which members of a chat group are online."""

    data: GroupData


class AskHistory(_ClientFrame, frozen=True, tag="history", kw_only=True):
    """Ask for stored messages of a chat group."""

    data: HistoryData


ClientFrame = Ping | Auth | SendMessage | JoinGroup | LeaveGroup | MarkRead | Typing | AskPresence | AskHistory


class FeedPosition(msgspec.Struct, frozen=True):
    """A connection's position in a feed; ``recovered`` only if the client asked to resume it."""

    feed: str
    epoch: str
    offset: int
    recovered: bool | UnsetType = UNSET


class Pong(Nothing, frozen=True):
    """The reply to `ping`."""

    TYPE: ClassVar = "pong"


class AuthSuccess(msgspec.Struct, frozen=True):
    """The connection is authenticated as this user; ``expires_at`` in Unix seconds."""

    TYPE: ClassVar = "auth_success"

    user_id: str
    connection_id: str
    expires_at: int
    heartbeat_seconds: int
    groups: list[str] | UnsetType = UNSET
    feeds: list[FeedPosition] | UnsetType = UNSET


class AuthFailed(msgspec.Struct, frozen=True):
    """Authentication failed; ``reason`` is missing, invalid, expired, revoked or timeout."""

    TYPE: ClassVar = "auth_failed"

    message: str
    reason: str


class Ack(msgspec.Struct, frozen=True):
    """The message with this id is stored, or marked as read."""

    TYPE: ClassVar = "ack"

    message_id: str
    success: bool = True


class Error(msgspec.Struct, frozen=True):
    """A frame was rejected or failed, or the connection has a problem; ``code`` follows HTTP."""

    TYPE: ClassVar = "error"

    code: int
    message: str
    reason: str | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


class GroupJoined(msgspec.Struct, frozen=True):
    """The connection is now subscribed to this chat group; live publications continue at ``offset`` + 1."""

    TYPE: ClassVar = "group_joined"

    group_id: str
    feed: str
    epoch: str
    offset: int
    recovered: bool | UnsetType = UNSET


class GroupLeft(msgspec.Struct, frozen=True):
    """The connection is no longer subscribed to this chat group."""

    TYPE: ClassVar = "group_left"

    group_id: str


class FeedReset(msgspec.Struct, frozen=True):
    """The log of a subscribed feed was lost before this position; ask for the history."""

    TYPE: ClassVar = "feed_reset"

    feed: str
    epoch: str
    offset: int
    recovered: bool = False


class MessageRead(msgspec.Struct, frozen=True):
    """A user has read a chat group up to a message."""

    TYPE: ClassVar = "message_read"

    group_id: str
    user_id: int
    message_id: str


class UserTyping(msgspec.Struct, frozen=True):
    """A user started or stopped typing. The gateway ends it after 6 s; a client that missed that, after 10 s."""

    TYPE: ClassVar = "typing"

    group_id: str
    user_id: int
    typing: bool


class PresentUser(msgspec.Struct, frozen=True):
    """A member of a chat group; ``last_seen`` in Unix seconds, 0: never."""

    user_id: int
    connections: int
    last_seen: int


class PresentUsers(msgspec.Struct, frozen=True):
    """Members of a chat group, at most 500, online ones first; ``truncated`` if the group has more than these."""

    TYPE: ClassVar = "presence"

    group_id: str
    users: list[PresentUser]
    total: int
    truncated: bool


class Message(msgspec.Struct, frozen=True):
    """A message of a chat group; ``msg_type`` 1 text or 2 image, ``sender`` is ``sender_id`` as a string."""

    message_id: str
    group_id: str
    sender_id: int
    sender_name: str
    sender_avatar: str
    msg_type: int
    content: str
    image_url: str
    created_at: int
    sender: str


class StoredMessage(Message, frozen=True):
    """A message from the history; ``status`` 1 normal or 2 recalled, without content."""

    status: int


class History(msgspec.Struct, frozen=True):
    """Messages of a chat group, newest first."""

    TYPE: ClassVar = "history"

    group_id: str
    messages: list[StoredMessage]
    has_more: bool


class Shutdown(msgspec.Struct, frozen=True):
    """The server is shutting down; reconnect after ``retry_after`` seconds."""

    TYPE: ClassVar = "shutdown"

    retry_after: int


ServerData = (
    Pong | AuthSuccess | AuthFailed | Ack | Error | GroupJoined | GroupLeft | FeedReset | MessageRead
    | UserTyping | PresentUsers | History | Shutdown
)  # fmt: skip

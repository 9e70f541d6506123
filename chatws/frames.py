"""The frames of the WebSocket protocol (docs/protocol.md): what a client sends, what the server answers.

Decoded and encoded by `chatws.codec` alone.
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
    """Data of a frame that has none."""


class ResumePoint(msgspec.Struct, frozen=True):
    """The last epoch and offset that a client saw of a feed."""

    epoch: Annotated[str, Meta(max_length=64)]
    offset: Offset


class AuthData(msgspec.Struct, frozen=True):
    token: str
    resume: dict[str, ResumePoint] | None = None


class SendMessageData(msgspec.Struct, frozen=True):
    group_id: GroupId
    msg_type: Literal[1, 2]
    content: Text = ""
    image_url: Url = ""


class GroupData(msgspec.Struct, frozen=True):
    group_id: GroupId


class JoinGroupData(msgspec.Struct, frozen=True):
    group_id: GroupId
    resume: ResumePoint | None = None


class MarkReadData(msgspec.Struct, frozen=True):
    group_id: GroupId
    message_id: Annotated[str, Meta(min_length=1, max_length=64)]


class _ClientFrame(msgspec.Struct, frozen=True, tag_field="type"):
    message_id: MessageId = ""
    timestamp: Timestamp = 0


class Ping(_ClientFrame, frozen=True, tag="ping"):
    data: Nothing = Nothing()


class Auth(_ClientFrame, frozen=True, tag="auth", kw_only=True):
    data: AuthData


class SendMessage(_ClientFrame, frozen=True, tag="send_message", kw_only=True):
    data: SendMessageData


class JoinGroup(_ClientFrame, frozen=True, tag="join_group", kw_only=True):
    data: JoinGroupData


class LeaveGroup(_ClientFrame, frozen=True, tag="leave_group", kw_only=True):
    data: GroupData


class MarkRead(_ClientFrame, frozen=True, tag="mark_read", kw_only=True):
    data: MarkReadData


ClientFrame = Ping | Auth | SendMessage | JoinGroup | LeaveGroup | MarkRead


class FeedPlace(msgspec.Struct, frozen=True):
    """Where a connection stands in a feed; ``recovered`` only when it asked to resume."""

    feed: str
    epoch: str
    offset: int
    recovered: bool | UnsetType = UNSET


class Pong(Nothing, frozen=True):
    TYPE: ClassVar = "pong"


class AuthSuccess(msgspec.Struct, frozen=True):
    TYPE: ClassVar = "auth_success"

    user_id: str
    connection_id: str
    expires_at: int
    heartbeat_seconds: int
    groups: list[str] | UnsetType = UNSET
    feeds: list[FeedPlace] | UnsetType = UNSET


class AuthFailed(msgspec.Struct, frozen=True):
    TYPE: ClassVar = "auth_failed"

    message: str
    reason: str


class Ack(msgspec.Struct, frozen=True):
    TYPE: ClassVar = "ack"

    message_id: str
    success: bool = True


class Error(msgspec.Struct, frozen=True):
    TYPE: ClassVar = "error"

    code: int
    message: str
    reason: str | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


class GroupJoined(msgspec.Struct, frozen=True):
    TYPE: ClassVar = "group_joined"

    group_id: str
    feed: str
    epoch: str
    offset: int
    recovered: bool | UnsetType = UNSET


class GroupLeft(msgspec.Struct, frozen=True):
    TYPE: ClassVar = "group_left"

    group_id: str


class FeedReset(msgspec.Struct, frozen=True):
    TYPE: ClassVar = "feed_reset"

    feed: str
    epoch: str
    offset: int
    recovered: bool = False


class Shutdown(msgspec.Struct, frozen=True):
    TYPE: ClassVar = "shutdown"

    retry_after: int


ServerData = Pong | AuthSuccess | AuthFailed | Ack | Error | GroupJoined | GroupLeft | FeedReset | Shutdown

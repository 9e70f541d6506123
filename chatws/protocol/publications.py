"""The frames that stand in feeds (docs/protocol.md, "Feeds"): made by `chatws.events.routes` alone, from events."""

from typing import ClassVar, Literal

import msgspec

from chatws.protocol.frames import Message


class NewMessage(Message, frozen=True):
    """Somebody said something in a chat group."""

    TYPE: ClassVar = "new_message"


class Notification(msgspec.Struct, frozen=True):
    """Something for this user."""

    TYPE: ClassVar = "notification"

    notification_id: str
    type: str
    title: str
    content: str


class VerifyProgress(msgspec.Struct, frozen=True):
    """How far a verification of this user has come."""

    TYPE: ClassVar = "verify_progress"

    verify_id: int
    status: int
    refresh: bool


Change = Literal["added", "removed"]


class GroupMember(msgspec.Struct, frozen=True):
    """A user came into a chat group, or is out of it."""

    TYPE: ClassVar = "group_member"

    group_id: str
    user_id: int
    change: Change


class MembershipChanged(msgspec.Struct, frozen=True):
    """This user came into a chat group, or is out of it."""

    TYPE: ClassVar = "membership"

    group_id: str
    change: Change


PublicationData = NewMessage | Notification | VerifyProgress | GroupMember | MembershipChanged

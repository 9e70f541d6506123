"""The frames published to feeds (docs/protocol.md, "Feeds"); only `chatws.events.routes` makes them, from events."""

from typing import ClassVar, Literal

import msgspec

from chatws.protocol.frames import Message


class NewMessage(Message, frozen=True):
    """A new message in a chat group."""

    TYPE: ClassVar = "new_message"


class Notification(msgspec.Struct, frozen=True):
    """A notification for this user."""

    TYPE: ClassVar = "notification"

    notification_id: str
    type: str
    title: str
    content: str


class VerifyProgress(msgspec.Struct, frozen=True):
    """The progress of a verification of this user."""

    TYPE: ClassVar = "verify_progress"

    verify_id: int
    status: int
    refresh: bool


Change = Literal["added", "removed"]


class GroupMember(msgspec.Struct, frozen=True):
    """A user was added to or removed from a chat group."""

    TYPE: ClassVar = "group_member"

    group_id: str
    user_id: int
    change: Change


class MembershipChanged(msgspec.Struct, frozen=True):
    """This user was added to or removed from a chat group."""

    TYPE: ClassVar = "membership"

    group_id: str
    change: Change


PublicationData = NewMessage | Notification | VerifyProgress | GroupMember | MembershipChanged

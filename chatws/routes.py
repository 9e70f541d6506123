"""Which event becomes which publication: one function a topic (docs/protocol.md, Redis Streams).

Judged from the entry's bytes alone, so that every relay judges alike; frames are complete but for their place.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from chatws.frames import GroupId
from chatws.publications import (
    Change,
    GroupMember,
    MembershipChanged,
    NewMessage,
    Notification,
    PublicationData,
    VerifyProgress,
)
from realtime.commands import AskAccess, Command, DropUser
from realtime.exceptions import PoisonEntry
from realtime.feeds import Publication
from realtime.groups import group_feed, user_feed
from realtime.relay.entry import Entry
from realtime.relay.worker import Route

MESSAGE_NEW = "chat.message.new"
MEMBER_ADDED = "chat.group.member.added"
MEMBER_REMOVED = "chat.group.member.removed"
NOTIFICATION_PUSH = "notification:push"
VERIFY_PROGRESS = "verify:progress"

LARGEST_ID = 2**64 - 1
UserId = Annotated[int, Meta(ge=1)]
Seconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]


class MessageEvent(msgspec.Struct, frozen=True):
    """The `data` of `new_message`, as the chat service publishes it."""

    message_id: Name
    group_id: GroupId
    sender_id: UserId
    msg_type: int
    created_at: Seconds
    sender_name: str = ""
    sender_avatar: str = ""
    content: str = ""
    image_url: str = ""


class MemberEvent(msgspec.Struct, frozen=True):
    group_id: GroupId
    user_id: UserId


class NotificationEvent(msgspec.Struct, frozen=True):
    user_id: UserId
    notification_id: Name
    type: str
    title: str
    content: str
    timestamp: Seconds


class VerifyEvent(msgspec.Struct, frozen=True):
    user_id: UserId
    verify_id: UserId
    status: int
    refresh: bool
    timestamp: Seconds
    operator: Any = None


class _Frame(msgspec.Struct, frozen=True):
    type: str
    message_id: str
    timestamp: int
    data: PublicationData


_encoder = msgspec.json.Encoder()
_message = msgspec.json.Decoder(MessageEvent)
_member = msgspec.json.Decoder(MemberEvent)
_notification = msgspec.json.Decoder(NotificationEvent)
_verify = msgspec.json.Decoder(VerifyEvent)


def new_message(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """A message goes to its chat group."""
    event = _decode(_message, entry)
    data = NewMessage(
        message_id=event.message_id, group_id=event.group_id, sender_id=event.sender_id, sender_name=event.sender_name,
        sender_avatar=event.sender_avatar, msg_type=event.msg_type, content=event.content, image_url=event.image_url,
        created_at=event.created_at, sender=str(event.sender_id),
    )  # fmt: skip
    frame = _Frame(data.TYPE, event.message_id, event.created_at, data)
    return [(group_feed(event.group_id), _publication(event.message_id, frame))]


def member_added(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """Both feeds are told; the user's connections ask whether they may hear the chat group now."""
    return _member_changed(entry, "added", None)


def member_removed(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """In the chat group's feed first: no hub reaches a later publication without having dropped the user."""
    return _member_changed(entry, "removed", DropUser)


def notification(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """A notification goes to its user."""
    event = _decode(_notification, entry)
    data = Notification(event.notification_id, event.type, event.title, event.content)
    frame = _Frame(data.TYPE, f"notif_{event.notification_id}", event.timestamp, data)
    return [(user_feed(event.user_id), _publication(event.notification_id, frame))]


def verify_progress(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """The progress of a verification goes to its user, without the operator."""
    event = _decode(_verify, entry)
    timestamp = event.timestamp or entry.seconds
    data = VerifyProgress(event.verify_id, event.status, event.refresh)
    frame = _Frame(data.TYPE, f"verify_{event.verify_id}_{timestamp}", timestamp, data)
    return [(user_feed(event.user_id), _publication(entry.publication_id, frame))]


ROUTES: Mapping[str, Route] = {
    MESSAGE_NEW: new_message,
    MEMBER_ADDED: member_added,
    MEMBER_REMOVED: member_removed,
    NOTIFICATION_PUSH: notification,
    VERIFY_PROGRESS: verify_progress,
}


def _member_changed(entry: Entry, change: Change, command: type[DropUser] | None) -> Sequence[tuple[str, Publication]]:
    event = _decode(_member, entry)
    feed = group_feed(event.group_id)
    in_group = GroupMember(event.group_id, event.user_id, change)
    to_user = MembershipChanged(event.group_id, change)
    drop = command(event.user_id) if command is not None else None
    return [
        (feed, _publication(entry.publication_id, _Frame(in_group.TYPE, "", entry.seconds, in_group), drop)),
        (
            user_feed(event.user_id),
            _publication(entry.publication_id, _Frame(to_user.TYPE, "", entry.seconds, to_user), AskAccess(feed)),
        ),
    ]


def _publication(publication_id: str, frame: _Frame, command: Command | None = None) -> Publication:
    return Publication(publication_id, _encoder.encode(frame), command)


def _decode(decoder: msgspec.json.Decoder[Any], entry: Entry) -> Any:
    try:
        event = decoder.decode(entry.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PoisonEntry(f"payload: {str(error) or 'nested too deeply'}") from None
    for name in ("user_id", "sender_id", "verify_id"):
        if getattr(event, name, 0) > LARGEST_ID:
            raise PoisonEntry(f"payload: {name} is over {LARGEST_ID}")
    return event

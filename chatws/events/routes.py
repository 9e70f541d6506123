"""Which event becomes which publication: one function a topic (docs/protocol.md, Redis Streams).

Judged from the entry's bytes alone, so that every relay judges alike; frames are complete but for their place.
Lenient in, strict out: of a field that is no id, missing or null counts as its zero value.
"""

from collections.abc import Mapping, Sequence

import msgspec

from chatws.events.payloads import MemberEvent, MessageEvent, NotificationEvent, VerifyEvent, decode
from chatws.protocol.publications import (
    Change,
    GroupMember,
    MembershipChanged,
    NewMessage,
    Notification,
    PublicationData,
    VerifyProgress,
)
from realtime.feeds.names import group_feed, user_feed
from realtime.feeds.publication import AskAccess, Command, DropUser, Publication
from realtime.relay.watermill import Entry
from realtime.relay.worker import Route

MESSAGE_NEW = "chat.message.new"

MEMBER_ADDED = "chat.group.member.added"

MEMBER_REMOVED = "chat.group.member.removed"

NOTIFICATION_PUSH = "notification:push"

VERIFY_PROGRESS = "verify:progress"

GROUPS_CHANGED = frozenset({"group_created", "group_joined", "group_left", "activity_cancelled"})
"""Types of notifications that say that their user's groups have changed, maybe the only word of it."""

LATEST = 253_402_300_799
"""The last second of the year 9999: what is later can't be shown as a date."""


class _Frame(msgspec.Struct, frozen=True):
    type: str
    message_id: str
    timestamp: int
    data: PublicationData


_encoder = msgspec.json.Encoder()


def new_message(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """A message goes to its chat group."""
    event = decode(MessageEvent, entry)
    data = NewMessage(
        message_id=event.message_id, group_id=event.group_id, sender_id=event.sender_id, sender_name=event.sender_name,
        sender_avatar=event.sender_avatar, msg_type=event.msg_type, content=event.content, image_url=event.image_url,
        created_at=_time(event.created_at, entry), sender=str(event.sender_id),
    )  # fmt: skip
    frame = _Frame(data.TYPE, event.message_id, data.created_at, data)
    return [(group_feed(event.group_id), _publication(event.message_id, frame))]


def member_added(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """Both feeds are told; the user's connections ask whether they may hear the chat group now."""
    return _member_changed(entry, "added", None)


def member_removed(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """In the chat group's feed first: no hub reaches a later publication without having dropped the user."""
    return _member_changed(entry, "removed", DropUser)


def notification(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """A notification goes to its user; one that says that its groups have changed makes its connections ask."""
    event = decode(NotificationEvent, entry)
    data = Notification(event.notification_id, event.type, event.title, event.content)
    frame = _Frame(data.TYPE, f"notif_{event.notification_id}", _time(event.timestamp, entry), data)
    feed = user_feed(event.user_id)
    ask = AskAccess(feed) if event.type in GROUPS_CHANGED else None
    return [(feed, _publication(event.notification_id, frame, ask))]


def verify_progress(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """The progress of a verification goes to its user, without the operator."""
    event = decode(VerifyEvent, entry)
    timestamp = _time(event.timestamp, entry)
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
    event = decode(MemberEvent, entry)
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


def _time(seconds: int, entry: Entry) -> int:
    """A time that can be shown: the entry's own where none was given."""
    return min(seconds, LATEST) if seconds > 0 else entry.seconds

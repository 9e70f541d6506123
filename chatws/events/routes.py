"""Turn events into publications: one function per topic (docs/protocol.md, Redis Streams).

The result depends only on the entry's bytes, so that every relay makes the same one. Frames lack only feed, epoch and
offset. A missing or null field that is not an id counts as its zero value.
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
"""Types of notifications that mean their user's groups have changed, possibly without a member event."""

LATEST = 253_402_300_799
"""The last second of the year 9999: a later time cannot be shown as a date."""


class _Frame(msgspec.Struct, frozen=True):
    type: str
    message_id: str
    timestamp: int
    data: PublicationData


_encoder = msgspec.json.Encoder()


def new_message(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """Publish a message to its chat group's feed."""
    event = decode(MessageEvent, entry)
    data = NewMessage(
        message_id=event.message_id, group_id=event.group_id, sender_id=event.sender_id, sender_name=event.sender_name,
        sender_avatar=event.sender_avatar, msg_type=event.msg_type, content=event.content, image_url=event.image_url,
        created_at=_time(event.created_at, entry), sender=str(event.sender_id),
    )  # fmt: skip
    frame = _Frame(data.TYPE, event.message_id, data.created_at, data)
    return [(group_feed(event.group_id), _publication(event.message_id, frame))]


def member_added(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """Publish to the group's and the user's feed; the user's connections then check their access to the chat group."""
    return _member_changed(entry, "added", None)


def member_removed(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """Publish to the group's feed first, so that every hub drops the user before any later publication."""
    return _member_changed(entry, "removed", DropUser)


def notification(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """Publish a notification to its user; for a type in `GROUPS_CHANGED` the connections refresh their groups."""
    event = decode(NotificationEvent, entry)
    data = Notification(event.notification_id, event.type, event.title, event.content)
    frame = _Frame(data.TYPE, f"notif_{event.notification_id}", _time(event.timestamp, entry), data)
    feed = user_feed(event.user_id)
    ask = AskAccess(feed) if event.type in GROUPS_CHANGED else None
    return [(feed, _publication(event.notification_id, frame, ask))]


def verify_progress(entry: Entry) -> Sequence[tuple[str, Publication]]:
    """Publish a verification's progress to its user, without the operator."""
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
    """Return the given time, at most `LATEST`; the entry's own time if none was given."""
    return min(seconds, LATEST) if seconds > 0 else entry.seconds

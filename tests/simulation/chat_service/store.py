"""What the chat service stores. It keeps its past, so that it can be read as of an earlier moment.

Moments are seconds of the world (`Scheduler.now`); ``created_at`` and ``joined_at`` are Unix seconds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

NORMAL, DISBANDED = 1, 2
MEMBER, OWNER = 1, 2
Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class Membership:
    """A user's time in a chat group: from ``since`` until ``until``."""

    group_id: str
    user_id: int
    role: int
    joined_at: int
    since: float
    until: float = math.inf


@dataclass(slots=True, eq=False)
class StoredMessage:
    """A stored message. ``place`` is its place in its chat group, ``at`` the moment at which it was stored."""

    message_id: str
    group_id: str
    sender_id: int
    msg_type: int
    content: str
    image_url: str
    created_at: int
    at: float
    place: int
    number: int
    """Its place among all messages."""


@dataclass(slots=True, eq=False)
class ChatGroup:
    """A chat group with all its memberships, in the order of joining."""

    group_id: str
    activity_id: int
    name: str
    owner_id: int
    max_members: int
    cover_url: str
    created_at: int
    since: float
    disbanded_at: float = math.inf
    memberships: list[Membership] = field(default_factory=list)
    members: dict[int, Membership] = field(default_factory=dict)
    """The members of now, in the order of joining."""
    changed_at: float = 0.0

    def members_as_of(self, at: float) -> list[Membership]:
        """Return the members at a moment, in the order of joining."""
        if at >= self.changed_at:
            return list(self.members.values())
        return [one for one in self.memberships if one.since <= at < one.until]

    def status_as_of(self, at: float) -> int:
        return DISBANDED if self.disbanded_at <= at else NORMAL


@dataclass(slots=True, eq=False)
class Notification:
    """A notification of a user."""

    notification_id: str
    user_id: int
    type: str
    title: str
    content: str
    created_at: int
    at: float
    is_read: bool = False


@dataclass(slots=True, eq=False)
class Cursor:
    """How far a user has read a chat group."""

    message: StoredMessage
    read_at: int


class Store:
    """The tables of the chat service. ``now`` returns the moment, ``wall`` the Unix time."""

    def __init__(self, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self.now = now
        self.wall = wall
        self.groups: dict[str, ChatGroup] = {}
        self.by_activity: dict[int, list[ChatGroup]] = {}
        self.by_user: dict[int, list[Membership]] = {}
        """All memberships of a user, in the order of joining."""
        self.stored: dict[str, list[StoredMessage]] = {}
        """The messages of each chat group, in the order in which they were stored."""
        self.messages: dict[str, StoredMessage] = {}
        self.notifications: dict[int, list[Notification]] = {}
        self.cursors: dict[tuple[str, int], Cursor] = {}
        self.names: dict[int, tuple[str, str]] = {}
        """Name and avatar of users."""

    def time(self) -> int:
        return int(self.wall())

    # Changes

    def add_group(
        self, group_id: str, activity_id: int, name: str, owner_id: int, max_members: int, cover_url: str
    ) -> ChatGroup:
        group = ChatGroup(
            group_id, activity_id, name, owner_id, max_members, cover_url, self.time(), self.now(),
        )  # fmt: skip
        self.groups[group_id] = group
        if activity_id:
            self.by_activity.setdefault(activity_id, []).append(group)
        self.join(group, owner_id, OWNER)
        return group

    def join(self, group: ChatGroup, user_id: int, role: int) -> None:
        membership = Membership(group.group_id, user_id, role, self.time(), self.now())
        group.memberships.append(membership)
        group.members[user_id] = membership
        group.changed_at = membership.since
        self.by_user.setdefault(user_id, []).append(membership)

    def leave(self, group: ChatGroup, user_id: int) -> None:
        membership = group.members.pop(user_id)
        membership.until = group.changed_at = self.now()

    def add_message(
        self, message_id: str, group_id: str, sender_id: int, msg_type: int, content: str, image_url: str
    ) -> StoredMessage:
        stored = self.stored.setdefault(group_id, [])
        message = StoredMessage(
            message_id, group_id, sender_id, msg_type, content, image_url, self.time(), self.now(), len(stored),
            len(self.messages),
        )  # fmt: skip
        stored.append(message)
        self.messages[message_id] = message
        return message

    def add_notification(self, notification_id: str, user_id: int, kind: str, title: str, content: str) -> Notification:
        notification = Notification(notification_id, user_id, kind, title, content, self.time(), self.now())
        self.notifications.setdefault(user_id, []).append(notification)
        return notification

    # Reading as of a moment

    def memberships_as_of(self, user_id: int, at: float) -> list[Membership]:
        """Return a user's memberships at a moment, in the order of joining, also of disbanded chat groups."""
        return [one for one in self.by_user.get(user_id, ()) if one.since <= at < one.until]

    def messages_as_of(self, group_id: str, at: float) -> list[StoredMessage]:
        """Return a chat group's messages at a moment, in order. Do not change the list."""
        stored = self.stored.get(group_id, [])
        if not stored or stored[-1].at <= at:
            return stored
        return [message for message in stored if message.at <= at]

    def message_as_of(self, message_id: str, at: float) -> StoredMessage | None:
        message = self.messages.get(message_id)
        return message if message is not None and message.at <= at else None

    def group_as_of(self, group_id: str, at: float) -> ChatGroup | None:
        group = self.groups.get(group_id)
        return group if group is not None and group.since <= at else None

    # The truth

    def intervals(self, group_id: str) -> list[tuple[int, float, float]]:
        """Return who was in a chat group from when until when. Nobody is in a disbanded one."""
        group = self.groups[group_id]
        return [(one.user_id, one.since, min(one.until, group.disbanded_at)) for one in group.memberships]

    def members_at(self, group_id: str, at: float) -> set[int]:
        """Return who was in a chat group at a moment."""
        return {user_id for user_id, since, until in self.intervals(group_id) if since <= at < until}


def page_of(items: Sequence[Item], page: int, page_size: int) -> Sequence[Item]:
    """Return a page. Pages count from 1 and have 20 entries unless more are asked for, at most 100."""
    size = size_of(page_size)
    first = (max(page, 1) - 1) * size
    return items[first : first + size]


def size_of(asked: int) -> int:
    """Return the size of a page that was asked for."""
    return min(asked, 100) if asked > 0 else 20

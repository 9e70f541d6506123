"""The reference chat service's use cases, on the ORM. Every change of a chat group locks its row.

The functions are synchronous; the servicer calls them in threads.
"""

import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery

from chatws import conf
from chatws.reference import lookups, outbox
from chatws.reference.models import ChatGroup, Member, Message, Notification, OutboxEvent
from realtime.observability import tracing

DEFAULT_MAX_MEMBERS = 500
DEFAULT_PAGE, LARGEST_PAGE = 20, 100
MAX_OFFLINE = 1_000
Found = TypeVar("Found")


class ServiceError(Exception):
    """A use case failed; ``status`` is the name of a gRPC status code."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class UserGroup:
    """A chat group with the user's membership and the latest message."""

    member: Member
    member_count: int
    last: Message | None
    last_sender_name: str


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to save; ``metadata`` names the span of the call that brought it."""

    message_id: str
    group_id: str
    sender_id: int
    msg_type: int
    content: str
    image_url: str = ""
    metadata: dict[str, str] = field(default_factory=lambda: tracing.current.entry_metadata())

    @property
    def place(self) -> tuple[str, int]:
        """The message's chat group and sender."""
        return self.group_id, self.sender_id

    def require_all(self) -> None:
        """Reject the message if a required field is empty."""
        require(message_id=self.message_id, group_id=self.group_id, sender_id=self.sender_id, msg_type=self.msg_type)
        if self.msg_type == Message.IMAGE:
            require(image_url=self.image_url)
        else:
            require(content=self.content)

    def row(self, now: int) -> Message:
        """Return the row to store."""
        return Message(
            message_id=self.message_id, group_id=self.group_id, sender_id=self.sender_id, msg_type=self.msg_type,
            content=self.content, image_url=self.image_url, created_at=now,
        )  # fmt: skip

    def event(self, sender_name: str, now: int) -> OutboxEvent:
        """Return the event that announces the message."""
        return outbox.event(
            "chat.message.new",
            {
                "message_id": self.message_id, "group_id": self.group_id, "sender_id": self.sender_id,
                "sender_name": sender_name, "sender_avatar": "", "msg_type": self.msg_type, "content": self.content,
                "image_url": self.image_url, "created_at": now, "sender": str(self.sender_id),
            },
            self.metadata,
        )  # fmt: skip


def require(**fields: object) -> None:
    """Reject empty or zero fields with INVALID_ARGUMENT and the field's name."""
    for name, value in fields.items():
        if not value:
            raise ServiceError("INVALID_ARGUMENT", f"{name} is required")


def page_of(page: int, page_size: int) -> slice:
    """Return the slice of a page; pages count from 1, a page has 20 rows by default, at most 100."""
    size = min(page_size, LARGEST_PAGE) if page_size > 0 else DEFAULT_PAGE
    first = (max(page, 1) - 1) * size
    return slice(first, first + size)


@transaction.atomic
def create_group(activity_id: int, name: str, owner_id: int, max_members: int, cover_url: str) -> str:
    require(name=name, owner_id=owner_id)
    now = int(time.time())
    group = ChatGroup.objects.create(
        group_id=uuid.uuid4().hex, activity_id=activity_id, name=name, owner_id=owner_id,
        max_members=max_members if max_members > 0 else DEFAULT_MAX_MEMBERS, cover_url=cover_url, created_at=now,
    )  # fmt: skip
    Member.objects.create(group=group, user_id=owner_id, role=Member.OWNER, joined_at=now)
    _tell_members("added", group.group_id, owner_id)
    return group.group_id


@transaction.atomic
def add_member(group_id: str, user_id: int, role: int) -> None:
    require(group_id=group_id, user_id=user_id)
    group = _locked(group_id)
    _refuse_disbanded(group_id, group.status)
    if group.members.filter(user_id=user_id).exists():
        raise ServiceError("ALREADY_EXISTS", f"user {user_id} is in {group_id} already")
    if group.members.count() >= group.max_members:
        raise ServiceError("RESOURCE_EXHAUSTED", f"{group_id} is full: {group.max_members} members")
    Member.objects.create(group=group, user_id=user_id, role=role or Member.MEMBER, joined_at=int(time.time()))
    _tell_members("added", group_id, user_id)


@transaction.atomic
def remove_member(group_id: str, user_id: int, operator_id: int) -> None:
    require(group_id=group_id, user_id=user_id, operator_id=operator_id)
    group = _locked(group_id)
    member = group.members.filter(user_id=user_id).first()
    if member is None:
        raise ServiceError("NOT_FOUND", f"user {user_id} is not in {group_id}")
    if user_id == group.owner_id:
        raise ServiceError("PERMISSION_DENIED", "the owner can't be removed")
    member.delete()
    _tell_members("removed", group_id, user_id)


@transaction.atomic
def disband_group(group_id: str, operator_id: int) -> None:
    require(group_id=group_id, operator_id=operator_id)
    group = _locked(group_id)
    _refuse_disbanded(group_id, group.status)
    if operator_id != group.owner_id:
        raise ServiceError("PERMISSION_DENIED", f"only the owner may disband {group_id}")
    group.status = ChatGroup.DISBANDED
    group.save(update_fields=["status"])
    _tell_members("removed", group_id, *group.members.order_by("pk").values_list("user_id", flat=True))


def group_info(group_id: str) -> tuple[ChatGroup, int]:
    """Return a chat group and its number of members."""
    require(group_id=group_id)
    return _with_count(ChatGroup.objects.filter(pk=group_id), f"no such group: {group_id}")


def group_by_activity(activity_id: int) -> tuple[ChatGroup, int]:
    """Return the latest chat group of an activity and its number of members."""
    require(activity_id=activity_id)
    groups = ChatGroup.objects.filter(activity_id=activity_id).order_by("-created_at", "pk")
    return _with_count(groups, f"no group of activity {activity_id}")


def group_members(group_id: str, page: int, page_size: int) -> tuple[list[Member], int]:
    require(group_id=group_id)
    group_info(group_id)
    members = Member.objects.filter(group_id=group_id).order_by("pk")
    return list(members[page_of(page, page_size)]), members.count()


def user_groups(user_id: int, page: int, page_size: int) -> tuple[list[UserGroup], int]:
    """Return a page of a user's chat groups, in the order of joining, and their total."""
    require(user_id=user_id)
    latest = Message.objects.filter(group=OuterRef("group")).order_by("-pk").values("pk")[:1]
    count = Member.objects.filter(group=OuterRef("group")).values("group").annotate(n=Count("pk")).values("n")
    members = Member.objects.filter(user_id=user_id, group__status=ChatGroup.NORMAL)
    shown = list(
        members.select_related("group")
        .annotate(last_pk=Subquery(latest), member_count=Subquery(count))
        .order_by("pk")[page_of(page, page_size)]
    )
    last = Message.objects.in_bulk([member.last_pk for member in shown if member.last_pk])
    names = lookups.names_of(message.sender_id for message in last.values())
    groups = []
    for member in shown:
        message = last.get(member.last_pk) if member.last_pk else None
        name = names.get(message.sender_id, "") if message else ""
        groups.append(UserGroup(member, member.member_count, message, name))
    return groups, members.count()


def save_messages(messages: Sequence[NewMessage]) -> list[ServiceError | None]:
    """Store messages in one transaction, with their events unless the gateway publishes them.

    Return an error for each rejected message, None for each stored one. The messages have to be complete
    (`NewMessage.require_all`). An id that is stored already changes nothing. The chat groups are locked first, in the
    order of their ids, to avoid deadlocks.
    """
    refusals: list[ServiceError | None] = []
    new: dict[str, NewMessage] = {}
    with transaction.atomic():
        groups = lookups.lock_groups({message.group_id for message in messages})
        stored = lookups.stored_among({message.message_id for message in messages})
        members = lookups.members_among({message.place for message in messages})
        for message in messages:
            try:
                status = _found(groups.get(message.group_id), message.group_id)
                if message.message_id not in stored and message.message_id not in new:
                    _refuse_disbanded(message.group_id, status)
                    if message.place not in members:
                        raise ServiceError(
                            "PERMISSION_DENIED", f"user {message.sender_id} is not in {message.group_id}"
                        )
                    new[message.message_id] = message
                refusals.append(None)
            except ServiceError as refusal:
                refusals.append(refusal)
        _store(new.values())
    return refusals


def message_history(group_id: str, before_id: str, limit: int) -> tuple[list[Message], bool]:
    """Return messages before ``before_id`` (empty: the newest), newest first, and whether there are older ones."""
    require(group_id=group_id)
    group_info(group_id)
    messages = Message.objects.filter(group_id=group_id)
    if before_id:
        before = messages.filter(message_id=before_id).first()
        if before is None:
            raise ServiceError("NOT_FOUND", f"no such message in {group_id}: {before_id}")
        messages = messages.filter(pk__lt=before.pk)
    count = min(limit, LARGEST_PAGE) if limit > 0 else DEFAULT_PAGE
    found = list(messages.order_by("-pk")[: count + 1])
    return found[:count], len(found) > count


def offline_messages(user_id: int, after_time: int) -> list[Message]:
    """Return the messages of a user's chat groups after a time, oldest first, at most 1,000."""
    require(user_id=user_id)
    groups = Member.objects.filter(user_id=user_id, group__status=ChatGroup.NORMAL).values("group")
    return list(Message.objects.filter(group__in=groups, created_at__gt=after_time).order_by("pk")[:MAX_OFFLINE])


@transaction.atomic
def create_notification(user_id: int, kind: str, title: str, content: str) -> str:
    require(user_id=user_id, type=kind, title=title)
    now = int(time.time())
    notification = Notification.objects.create(
        notification_id=uuid.uuid4().hex, user_id=user_id, type=kind, title=title, content=content, created_at=now
    )
    told = {
        "user_id": user_id, "notification_id": notification.notification_id, "type": kind, "title": title,
        "content": content, "timestamp": now,
    }  # fmt: skip
    outbox.add([outbox.event("notification:push", told)])
    return notification.notification_id


def notifications(user_id: int, is_read: int, page: int, page_size: int) -> tuple[list[Notification], int, int]:
    """Return notifications newest first (``is_read``: 0 unread, 1 read, -1 all), their total and the unread count."""
    require(user_id=user_id)
    found = Notification.objects.filter(user_id=user_id)
    if is_read >= 0:
        found = found.filter(is_read=bool(is_read))
    return list(found.order_by("-pk")[page_of(page, page_size)]), found.count(), unread_count(user_id)


def mark_notifications_read(user_id: int, notification_ids: list[str]) -> int:
    require(user_id=user_id, notification_ids=notification_ids)
    return _unread(user_id).filter(notification_id__in=notification_ids).update(is_read=True)


def unread_count(user_id: int) -> int:
    require(user_id=user_id)
    return _unread(user_id).count()


def mark_all_read(user_id: int) -> int:
    require(user_id=user_id)
    return _unread(user_id).update(is_read=True)


def _unread(user_id: int) -> "QuerySet[Notification]":
    return Notification.objects.filter(user_id=user_id, is_read=False)


def _with_count(groups: "QuerySet[ChatGroup]", missing: str) -> tuple[ChatGroup, int]:
    group = groups.first()
    if group is None:
        raise ServiceError("NOT_FOUND", missing)
    return group, group.members.count()


def _store(messages: Collection[NewMessage]) -> None:
    now = int(time.time())
    Message.objects.bulk_create(message.row(now) for message in messages)
    if messages and not conf.get().publishes_messages:
        names = lookups.names_of(message.sender_id for message in messages)
        outbox.add(message.event(names.get(message.sender_id, ""), now) for message in messages)


def _locked(group_id: str) -> ChatGroup:
    return _found(ChatGroup.objects.select_for_update().filter(pk=group_id).first(), group_id)


def _found(found: Found | None, group_id: str) -> Found:
    if found is None:
        raise ServiceError("NOT_FOUND", f"no such group: {group_id}")
    return found


def _refuse_disbanded(group_id: str, status: int) -> None:
    if status == ChatGroup.DISBANDED:
        raise ServiceError("FAILED_PRECONDITION", f"{group_id} has been disbanded")


def _tell_members(change: str, group_id: str, *user_ids: int) -> None:
    topic = f"chat.group.member.{change}"
    outbox.add(outbox.event(topic, {"group_id": group_id, "user_id": user_id}) for user_id in user_ids)

"""Read cursors: how far each user has read each of its chat groups.

The functions are synchronous; the servicer calls them in threads.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from chatws.reference.models import Member, Message, ReadCursor
from chatws.reference.services import ServiceError, group_info, require

MAX_UNREAD = 1_000


@dataclass(frozen=True, slots=True)
class Unread:
    """A user's cursor in a chat group, and how many newer messages of others there are, at most `MAX_UNREAD`."""

    group_id: str
    cursor: ReadCursor | None
    count: int


def mark_read(user_id: int, group_id: str, message_id: str) -> str:
    """Move a user's cursor to a message unless it is further already; return the id of the cursor's message."""
    require(user_id=user_id, group_id=group_id, message_id=message_id)
    group_info(group_id)
    if not Member.objects.filter(group_id=group_id, user_id=user_id).exists():
        raise ServiceError("PERMISSION_DENIED", f"user {user_id} is not in {group_id}")
    message = Message.objects.filter(group_id=group_id, message_id=message_id).first()
    if message is None:
        raise ServiceError("NOT_FOUND", f"no such message in {group_id}: {message_id}")
    cursors, now = ReadCursor.objects.filter(group_id=group_id, user_id=user_id), int(time.time())
    for _ in range(2):  # again if another device created the cursor in between
        if cursors.filter(message__lt=message.pk).update(message=message, read_at=now):
            return message_id
        cursor, is_new = ReadCursor.objects.select_related("message").get_or_create(
            group_id=group_id, user_id=user_id, defaults={"message": message, "read_at": now}
        )
        if is_new or cursor.message_id >= message.pk:
            break
    return cursor.message.message_id


def group_cursors(group_id: str, user_ids: Sequence[int]) -> list[ReadCursor]:
    """Return the cursors of users in a chat group; users without one are left out."""
    require(group_id=group_id)
    return list(ReadCursor.objects.select_related("message").filter(group_id=group_id, user_id__in=user_ids))


def user_cursors(user_id: int, group_ids: Sequence[str]) -> list[Unread]:
    """Return a user's cursors and unread counts in chat groups; without a cursor count since the user joined."""
    require(user_id=user_id)
    cursors = ReadCursor.objects.select_related("message").filter(user_id=user_id, group_id__in=group_ids)
    by_group = {cursor.group_id: cursor for cursor in cursors}
    found = []
    for member in Member.objects.filter(user_id=user_id, group_id__in=group_ids):
        unread = Message.objects.filter(group_id=member.group_id).exclude(sender_id=user_id)
        cursor = by_group.get(member.group_id)
        if cursor is not None:
            unread = unread.filter(pk__gt=cursor.message_id)
        else:
            unread = unread.filter(created_at__gte=member.joined_at)
        found.append(Unread(member.group_id, cursor, unread.order_by("-pk")[:MAX_UNREAD].count()))
    return found

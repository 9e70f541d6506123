"""What the twin stores; it answers each call of the chat service as the real service did when it was recorded."""

import uuid
from collections.abc import Iterable
from typing import Any

from chatws.chat_service.pb import chat_pb2 as pb
from tests.support.twin.database import Database, Failure

NORMAL, DISBANDED = 1, 2
MEMBER, OWNER = 1, 2
LONGEST_ID, LONGEST_URL, MAX_BYTES = 64, 512, 65_535


class Store(Database):
    """The chat service's database. A method raises `Failure` where the real service answers with an error."""

    def create_group(self, request: pb.CreateGroupReq) -> pb.CreateGroupResp:
        _require(request.activity_id, request.name, request.owner_id)
        group_id = str(uuid.uuid4())
        values = (
            group_id,
            request.activity_id,
            request.name,
            str(request.owner_id),
            NORMAL,
            request.max_members or 500,
        )
        self._write(
            "INSERT INTO chat_group (group_id, activity_id, name, owner_id, status, max_members, cover_url, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *values, request.cover_url, self._time(),
        )  # fmt: skip
        self._join(group_id, request.owner_id, OWNER)
        return pb.CreateGroupResp(group_id=group_id)

    def add_member(self, request: pb.AddGroupMemberReq) -> pb.AddGroupMemberResp:
        _require(request.group_id, request.user_id)
        group = self._group("group_id", request.group_id)
        if group.member_count >= group.max_members or self._member(request.group_id, request.user_id):
            raise Failure
        self._join(request.group_id, request.user_id, request.role if request.role > 0 else MEMBER)
        return pb.AddGroupMemberResp(success=True)

    def remove_member(self, request: pb.RemoveGroupMemberReq) -> pb.RemoveGroupMemberResp:
        _require(request.group_id, request.user_id)
        self._group("group_id", request.group_id)
        member = self._member(request.group_id, request.user_id)
        if member is None or member[0] == OWNER:
            raise Failure
        self._write(
            "UPDATE member SET is_in = 0 WHERE group_id = ? AND user_id = ?", request.group_id, str(request.user_id)
        )
        return pb.RemoveGroupMemberResp(success=True)

    def disband(self, request: pb.DisbandGroupReq) -> pb.DisbandGroupResp:
        _require(request.group_id, request.operator_id)
        if self._group("group_id", request.group_id).owner_id != request.operator_id:
            raise Failure
        self._write("UPDATE chat_group SET status = ? WHERE group_id = ?", DISBANDED, request.group_id)
        return pb.DisbandGroupResp(success=True)

    def group_info(self, request: pb.GetGroupInfoReq) -> pb.GetGroupInfoResp:
        _require(request.group_id)
        return pb.GetGroupInfoResp(group=self._group("group_id", request.group_id))

    def group_of_activity(self, request: pb.GetGroupByActivityIdReq) -> pb.GetGroupByActivityIdResp:
        _require(request.activity_id)
        return pb.GetGroupByActivityIdResp(group=self._group("activity_id", request.activity_id))

    def group_members(self, request: pb.GetGroupMembersReq) -> pb.GetGroupMembersResp:
        _require(request.group_id)
        rows = self._read(
            "SELECT user_id, role, joined_at FROM member WHERE group_id = ? AND is_in ORDER BY id", request.group_id
        )
        members = [
            pb.GroupMember(user_id=int(user_id), group_id=request.group_id, role=role, joined_at=at)
            for user_id, role, at in rows
        ]
        return pb.GetGroupMembersResp(members=_page(members, request), total=len(members))

    def user_groups(self, request: pb.GetUserGroupsReq) -> pb.GetUserGroupsResp:
        """Return a user's groups; the total also counts disbanded groups, which are not listed."""
        _require(request.user_id)
        rows = self._read(
            "SELECT group_id, role, joined_at FROM member WHERE user_id = ? AND is_in ORDER BY id", str(request.user_id)
        )
        groups = []
        for group_id, role, joined_at in rows:
            try:
                group = self._group("group_id", group_id)
            except Failure:
                continue
            [(cover,)] = self._read("SELECT cover_url FROM chat_group WHERE group_id = ?", group_id)
            last = self._history(group_id, "", 1)
            info = pb.UserGroupInfo(role=role, joined_at=joined_at, cover_url=cover)
            for name in group.DESCRIPTOR.fields_by_name:
                setattr(info, name, getattr(group, name))
            if last:
                info.last_message, info.last_message_at = last[0].content, last[0].created_at
                info.last_sender_name = self.people([last[0].sender_id]).get(last[0].sender_id, ("", ""))[0]
            groups.append(info)
        groups.sort(key=lambda info: -max(info.last_message_at, info.joined_at))
        return pb.GetUserGroupsResp(groups=_page(groups, request), total=len(rows))

    def save_message(self, request: pb.SaveMessageReq) -> pb.SaveMessageResp:
        """Store a message; only the lengths of its columns are checked."""
        too_long = len(request.message_id) > LONGEST_ID or len(request.group_id) > LONGEST_ID
        if too_long or len(request.image_url) > LONGEST_URL or len(request.content.encode()) > MAX_BYTES:
            raise Failure
        self._write(
            "INSERT INTO message (message_id, group_id, sender_id, msg_type, content, image_url, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, this_second())",
            request.message_id, request.group_id, str(request.sender_id), request.msg_type, request.content,
            request.image_url,
        )  # fmt: skip
        return pb.SaveMessageResp(success=True, message_id=request.message_id)

    def history(self, request: pb.GetMessageHistoryReq) -> pb.GetMessageHistoryResp:
        _require(request.group_id)
        limit = _size(request.limit)
        found = self._history(request.group_id, request.before_id, limit)
        return pb.GetMessageHistoryResp(messages=self._named(found), has_more=len(found) >= limit)

    def offline(self, request: pb.GetOfflineMessagesReq) -> pb.GetOfflineMessagesResp:
        _require(request.user_id, max(request.after_time, 0))
        rows = self._read(
            "SELECT message_id, message.group_id, sender_id, msg_type, content, image_url, created_at FROM message"
            " JOIN member ON member.group_id = message.group_id WHERE member.user_id = ? AND is_in AND created_at > ?"
            " ORDER BY created_at, message.id",
            str(request.user_id), request.after_time,
        )  # fmt: skip
        return pb.GetOfflineMessagesResp(messages=self._named([_message(row) for row in rows]))

    def notify(self, request: pb.CreateNotificationReq) -> pb.CreateNotificationResp:
        _require(request.user_id, request.type, request.title)
        notification_id = str(uuid.uuid4())
        self._write(
            "INSERT INTO notification (notification_id, user_id, type, title, content, is_read, created_at)"
            " VALUES (?, ?, ?, ?, ?, 0, ?)",
            notification_id, str(request.user_id), request.type, request.title, request.content, self._time(),
        )  # fmt: skip
        return pb.CreateNotificationResp(notification_id=notification_id)

    def notifications(self, request: pb.GetNotificationsReq) -> pb.GetNotificationsResp:
        """Return notifications. ``is_read``: 0 or -1 for all, as recorded; 1 for the read ones."""
        _require(request.user_id)
        rows = self._read(
            "SELECT notification_id, type, title, content, is_read, created_at FROM notification WHERE user_id = ?"
            " ORDER BY created_at DESC, id DESC",
            str(request.user_id),
        )
        found = [
            pb.Notification(
                notification_id=notification_id, user_id=request.user_id, type=kind, title=title, content=content,
                is_read=is_read, created_at=created_at,
            )
            for notification_id, kind, title, content, is_read, created_at in rows
            if request.is_read <= 0 or is_read == request.is_read
        ]  # fmt: skip
        unread = sum(not row[4] for row in rows)
        return pb.GetNotificationsResp(notifications=_page(found, request), total=len(found), unread_count=unread)

    def unread(self, request: pb.GetUnreadCountReq) -> pb.GetUnreadCountResp:
        _require(request.user_id)
        [(count,)] = self._read(
            "SELECT count(*) FROM notification WHERE user_id = ? AND NOT is_read", str(request.user_id)
        )
        return pb.GetUnreadCountResp(unread_count=count)

    def mark_read(self, request: pb.MarkNotificationReadReq) -> pb.MarkNotificationReadResp:
        _require(request.user_id, len(request.notification_ids))
        count = sum(
            self._write(
                "UPDATE notification SET is_read = 1 WHERE user_id = ? AND notification_id = ? AND NOT is_read",
                str(request.user_id), notification_id,
            )
            for notification_id in request.notification_ids
        )  # fmt: skip
        return pb.MarkNotificationReadResp(success=True, updated_count=count)

    def mark_all(self, request: pb.MarkAllReadReq) -> pb.MarkAllReadResp:
        _require(request.user_id)
        count = self._write(
            "UPDATE notification SET is_read = 1 WHERE user_id = ? AND NOT is_read", str(request.user_id)
        )
        return pb.MarkAllReadResp(success=True, affected_count=count)

    def people(self, user_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Return name and avatar of the users that the user service knows."""
        found = {}
        for user_id in user_ids:
            for name, avatar in self._read("SELECT name, avatar FROM person WHERE user_id = ?", str(user_id)):
                found[user_id] = (name, avatar)
        return found

    def meet(self, user_id: int, name: str, avatar: str) -> None:
        """Make a user known to the user service."""
        self._write("INSERT OR REPLACE INTO person VALUES (?, ?, ?)", str(user_id), name, avatar)

    def position(self, topic: str) -> str:
        """Return the last entry of a topic whose event was processed."""
        rows = self._read("SELECT entry_id FROM position WHERE topic = ?", topic)
        return rows[0][0] if rows else "0-0"

    def move_to(self, topic: str, entry_id: str) -> None:
        self._write("INSERT OR REPLACE INTO position VALUES (?, ?)", topic, entry_id)

    def _group(self, column: str, value: object) -> pb.GroupInfo:
        rows = self._read(
            "SELECT group_id, activity_id, name, owner_id, status, max_members, created_at FROM chat_group"
            f" WHERE {column} = ? AND status = ?",  # one of two possible names
            value, NORMAL,
        )  # fmt: skip
        if not rows:
            raise Failure
        group_id, activity_id, name, owner_id, status, most, created_at = rows[0]
        [(count,)] = self._read("SELECT count(*) FROM member WHERE group_id = ? AND is_in", group_id)
        return pb.GroupInfo(
            group_id=group_id, activity_id=activity_id, name=name, owner_id=int(owner_id), status=status,
            max_members=most, member_count=count, created_at=created_at,
        )  # fmt: skip

    def _member(self, group_id: str, user_id: int) -> tuple[Any, ...] | None:
        rows = self._read(
            "SELECT role FROM member WHERE group_id = ? AND user_id = ? AND is_in", group_id, str(user_id)
        )
        return rows[0] if rows else None

    def _join(self, group_id: str, user_id: int, role: int) -> None:
        """Add a member; a former member still has a row, so that fails."""
        self._write(
            "INSERT INTO member (group_id, user_id, role, is_in, joined_at) VALUES (?, ?, ?, 1, ?)",
            group_id, str(user_id), role, self._time(),
        )  # fmt: skip

    def _history(self, group_id: str, before_id: str, limit: int) -> list[pb.Message]:
        """Return the history by whole seconds. Those of one second are newest first, or oldest first if all fit."""
        before = self._read("SELECT created_at FROM message WHERE message_id = ?", before_id) if before_id else []
        rows = self._read(
            "SELECT message_id, group_id, sender_id, msg_type, content, image_url, created_at FROM message"
            " WHERE group_id = ? AND created_at < ? ORDER BY created_at DESC, id DESC LIMIT ?",
            group_id, before[0][0] if before else 2**62, limit + 1,
        )  # fmt: skip
        if len(rows) <= limit:
            rows.reverse()
            rows.sort(key=lambda row: -row[6])
        return [_message(row) for row in rows[:limit]]

    def _named(self, messages: list[pb.Message]) -> list[pb.Message]:
        known = self.people({message.sender_id for message in messages})
        for message in messages:
            message.sender_name = known.get(message.sender_id, (str(message.sender_id), ""))[0]
        return messages


def _require(*values: object) -> None:
    if not all(values):
        raise Failure


def _size(asked: int) -> int:
    return min(asked, 100) if asked > 0 else 20


def _page(items: list[Any], request: Any) -> list[Any]:
    size = _size(request.page_size)
    start = (max(request.page, 1) - 1) * size
    return items[start : start + size]


def _message(row: tuple[Any, ...]) -> pb.Message:
    message_id, group_id, sender_id, msg_type, content, image_url, created_at = row
    return pb.Message(
        message_id=message_id, group_id=group_id, sender_id=int(sender_id), msg_type=msg_type, content=content,
        image_url=image_url, status=NORMAL, created_at=created_at,
    )  # fmt: skip

"""Answer each call as the Go platform's chat service did when it was recorded (`tests/support/recordings`).

Every failure has the same status. A total counts disbanded groups. A message that is stored already is a failure, and
nothing else of a message is checked. The gateways publish messages.
"""

import uuid
from collections.abc import Sequence
from typing import Any

import grpc

from chatws.chat_service.pb import chat_pb2 as pb
from tests.simulation.chat_service.rules import REQUESTS, Refusal, Rules, info_of, member_of, notification_of
from tests.simulation.chat_service.store import (
    DISBANDED,
    MEMBER,
    NORMAL,
    OWNER,
    ChatGroup,
    Membership,
    StoredMessage,
    page_of,
    size_of,
)

FAILURE = "内部服务器错误"
LONGEST_ID, LONGEST_URL, MAX_BYTES = 64, 512, 65_535


class Failure(Refusal):
    """The platform's only answer to a call that fails."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.UNKNOWN, FAILURE)


def _require(*values: object) -> None:
    if not all(values):
        raise Failure


class Platform(Rules):
    """The Go platform's chat service. Member events come from its activity service, not from these calls."""

    publishes_messages = False

    def call(self, path: str, request: Any, at: float) -> Any:
        if path.startswith("/chat.ext."):
            service = path.split("/")[1]
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, f"unknown service {service}")
        return getattr(self, REQUESTS[path][0])(request, at)

    def new_id(self) -> str:
        return str(uuid.UUID(int=self._draws.getrandbits(128), version=4))

    # Chat groups

    def create_group(self, request: pb.CreateGroupReq, at: float) -> pb.CreateGroupResp:
        _require(request.activity_id, request.name, request.owner_id, request.activity_id not in self.store.by_activity)
        group = self.store.add_group(
            self.new_id(), request.activity_id, request.name, request.owner_id, request.max_members or 500,
            request.cover_url,
        )  # fmt: skip
        return pb.CreateGroupResp(group_id=group.group_id)

    def add_group_member(self, request: pb.AddGroupMemberReq, at: float) -> pb.AddGroupMemberResp:
        """Add a member. A former member still has a row, so that fails."""
        _require(request.group_id, request.user_id)
        group = self._alive(request.group_id)
        was_member = any(one.user_id == request.user_id for one in group.memberships)
        _require(len(group.members) < group.max_members, not was_member)
        self.store.join(group, request.user_id, request.role if request.role > 0 else MEMBER)
        return pb.AddGroupMemberResp(success=True)

    def remove_group_member(self, request: pb.RemoveGroupMemberReq, at: float) -> pb.RemoveGroupMemberResp:
        _require(request.group_id, request.user_id)
        group = self._alive(request.group_id)
        member = group.members.get(request.user_id)
        if member is None or member.role == OWNER:
            raise Failure
        self.store.leave(group, request.user_id)
        return pb.RemoveGroupMemberResp(success=True)

    def disband_group(self, request: pb.DisbandGroupReq, at: float) -> pb.DisbandGroupResp:
        _require(request.group_id, request.operator_id)
        group = self._alive(request.group_id)
        _require(group.owner_id == request.operator_id)
        group.disbanded_at = self.store.now()
        return pb.DisbandGroupResp(success=True)

    def get_group_info(self, request: pb.GetGroupInfoReq, at: float) -> pb.GetGroupInfoResp:
        _require(request.group_id)
        return pb.GetGroupInfoResp(group=info_of(self._group(request.group_id, at), at))

    def get_group_by_activity_id(self, request: pb.GetGroupByActivityIdReq, at: float) -> pb.GetGroupByActivityIdResp:
        _require(request.activity_id)
        groups = self.store.by_activity.get(request.activity_id, [])
        _require(groups)
        return pb.GetGroupByActivityIdResp(group=info_of(self._group(groups[0].group_id, at), at))

    def get_group_members(self, request: pb.GetGroupMembersReq, at: float) -> pb.GetGroupMembersResp:
        _require(request.group_id)
        group = self.store.group_as_of(request.group_id, at)
        members = self._arranged(group.members_as_of(at) if group is not None else [])
        shown = page_of(members, request.page, request.page_size)
        return pb.GetGroupMembersResp(members=map(member_of, shown), total=len(members))

    def get_user_groups(self, request: pb.GetUserGroupsReq, at: float) -> pb.GetUserGroupsResp:
        """Return a user's groups; the total also counts disbanded groups, which are not listed."""
        _require(request.user_id)
        memberships = self.store.memberships_as_of(request.user_id, at)
        groups = [self._user_group(one, at) for one in self._alive_memberships(request.user_id, at)]
        groups.sort(key=lambda info: -max(info.last_message_at, info.joined_at))
        return pb.GetUserGroupsResp(
            groups=page_of(self._arranged(groups), request.page, request.page_size), total=len(memberships)
        )

    # Messages

    def save_message(self, request: pb.SaveMessageReq, at: float) -> pb.SaveMessageResp:
        """Store a message; only the lengths of its columns are checked."""
        _require(
            len(request.message_id) <= LONGEST_ID, len(request.group_id) <= LONGEST_ID,
            len(request.image_url) <= LONGEST_URL, len(request.content.encode()) <= MAX_BYTES,
            request.message_id not in self.store.messages,
        )  # fmt: skip
        self.store.add_message(
            request.message_id, request.group_id, request.sender_id, request.msg_type, request.content,
            request.image_url,
        )  # fmt: skip
        return pb.SaveMessageResp(success=True, message_id=request.message_id)

    def get_message_history(self, request: pb.GetMessageHistoryReq, at: float) -> pb.GetMessageHistoryResp:
        _require(request.group_id)
        limit = size_of(request.limit)
        found = self._history(request.group_id, request.before_id, limit, at)
        return pb.GetMessageHistoryResp(messages=map(self._shown, found), has_more=len(found) >= limit)

    def get_offline_messages(self, request: pb.GetOfflineMessagesReq, at: float) -> pb.GetOfflineMessagesResp:
        _require(request.user_id, max(request.after_time, 0))
        found = [
            message
            for membership in self.store.memberships_as_of(request.user_id, at)
            for message in self.store.messages_as_of(membership.group_id, at)
            if message.created_at > request.after_time
        ]
        found.sort(key=lambda message: (message.created_at, message.number))
        return pb.GetOfflineMessagesResp(messages=map(self._shown, found))

    # Notifications

    def create_notification(self, request: pb.CreateNotificationReq, at: float) -> pb.CreateNotificationResp:
        _require(request.user_id, request.type, request.title)
        return super().create_notification(request, at)

    def get_notifications(self, request: pb.GetNotificationsReq, at: float) -> pb.GetNotificationsResp:
        """Return notifications. ``is_read``: 0 or -1 for all, as recorded; 1 for the read ones."""
        _require(request.user_id)
        everything = sorted(self.store.notifications.get(request.user_id, ()), key=lambda one: one.created_at)
        found = [one for one in reversed(everything) if request.is_read <= 0 or one.is_read]
        shown = page_of(found, request.page, request.page_size)
        return pb.GetNotificationsResp(
            notifications=map(notification_of, shown), total=len(found),
            unread_count=sum(not one.is_read for one in everything),
        )  # fmt: skip

    def get_unread_count(self, request: pb.GetUnreadCountReq, at: float) -> pb.GetUnreadCountResp:
        _require(request.user_id)
        return super().get_unread_count(request, at)

    def mark_notification_read(self, request: pb.MarkNotificationReadReq, at: float) -> pb.MarkNotificationReadResp:
        _require(request.user_id, request.notification_ids)
        return super().mark_notification_read(request, at)

    def mark_all_read(self, request: pb.MarkAllReadReq, at: float) -> pb.MarkAllReadResp:
        _require(request.user_id)
        return super().mark_all_read(request, at)

    # What the methods share

    def _group(self, group_id: str, at: float) -> ChatGroup:
        group = self.store.group_as_of(group_id, at)
        if group is None or group.status_as_of(at) == DISBANDED:
            raise Failure
        return group

    def _history(self, group_id: str, before_id: str, limit: int, at: float) -> Sequence[StoredMessage]:
        """Return the history by whole seconds. Those of one second are newest first, or oldest first if all fit."""
        before = self.store.message_as_of(before_id, at) if before_id else None  # an empty id may be stored
        rows = [
            message
            for message in self.store.messages_as_of(group_id, at)
            if before is None or message.created_at < before.created_at
        ]
        rows.sort(key=lambda message: (message.created_at, message.number), reverse=True)
        if len(rows) <= limit:
            rows.reverse()
            rows.sort(key=lambda message: -message.created_at)
        return rows[:limit]

    def _user_group(self, membership: Membership, at: float) -> pb.UserGroupInfo:
        info = super()._user_group(membership, at)
        last = self._history(membership.group_id, "", 1, at)
        if last:
            info.last_message, info.last_message_at = last[0].content, last[0].created_at
            info.last_sender_name = self._name(last[0].sender_id)
        return info

    def _shown(self, message: StoredMessage) -> pb.Message:
        shown = super()._shown(message)
        shown.status = NORMAL
        shown.sender_name = self.store.names.get(message.sender_id, (str(message.sender_id), ""))[0]
        return shown

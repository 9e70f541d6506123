"""Answer each call of the contract as the reference chat service does (docs/protocol.md, gRPC)."""

import random
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import message_factory

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import ext_pb2 as ext
from tests.simulation.chat_service.store import (
    DISBANDED,
    MEMBER,
    NORMAL,
    ChatGroup,
    Item,
    Membership,
    Notification,
    Store,
    StoredMessage,
    page_of,
    size_of,
)

IMAGE = 2
DEFAULT_MAX_MEMBERS = 500
MAX_OFFLINE = 1_000
MOVED_SHARE = 0.4
Publish = Callable[[str, Mapping[str, object]], None]
"""Called with a topic and the payload of an event, in the same step as the change."""


class Refusal(Exception):
    """A call was answered with a status other than OK."""

    def __init__(self, status: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.status = status
        self.details = details


def _requests() -> dict[str, tuple[str, type[Any]]]:
    services = [pb.DESCRIPTOR.services_by_name["ChatService"], ext.DESCRIPTOR.services_by_name["ReadCursors"]]
    found = {}
    for service in services:
        for method in service.methods:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()
            found[f"/{service.full_name}/{method.name}"] = (name, message_factory.GetMessageClass(method.input_type))
    return found


REQUESTS = _requests()
"""By the path of a call: the method of `Rules` and the class of its request."""


def require(**fields: object) -> None:
    for name, value in fields.items():
        if not value:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{name} is required")


class Rules:
    """The reference chat service. A method takes a request and the moment as of which it reads; changes happen now."""

    publishes_messages = True

    def __init__(self, store: Store, publish: Publish, draws: random.Random) -> None:
        self.store = store
        self.moves_pages = False
        """Whether an entry may come first in one call and not in the next, as where the last activity sorts them."""
        self._publish = publish
        self._draws = draws

    def call(self, path: str, request: Any, at: float) -> Any:
        """Return the response to a request.

        Raises:
            Refusal: the call was refused.
        """
        return getattr(self, REQUESTS[path][0])(request, at)

    def new_id(self) -> str:
        return uuid.UUID(int=self._draws.getrandbits(128), version=4).hex

    # Chat groups

    def create_group(self, request: pb.CreateGroupReq, at: float) -> pb.CreateGroupResp:
        require(name=request.name, owner_id=request.owner_id)
        most = request.max_members if request.max_members > 0 else DEFAULT_MAX_MEMBERS
        group = self.store.add_group(
            self.new_id(), request.activity_id, request.name, request.owner_id, most, request.cover_url
        )
        self._member_event("added", group.group_id, request.owner_id)
        return pb.CreateGroupResp(group_id=group.group_id)

    def add_group_member(self, request: pb.AddGroupMemberReq, at: float) -> pb.AddGroupMemberResp:
        require(group_id=request.group_id, user_id=request.user_id)
        group = self._alive(request.group_id)
        if request.user_id in group.members:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"user {request.user_id} is in {request.group_id} already")
        if len(group.members) >= group.max_members:
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{request.group_id} is full: {group.max_members} members"
            )
        self.store.join(group, request.user_id, request.role or MEMBER)
        self._member_event("added", request.group_id, request.user_id)
        return pb.AddGroupMemberResp(success=True)

    def remove_group_member(self, request: pb.RemoveGroupMemberReq, at: float) -> pb.RemoveGroupMemberResp:
        require(group_id=request.group_id, user_id=request.user_id, operator_id=request.operator_id)
        group = self._group(request.group_id, self.store.now())
        if request.user_id not in group.members:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"user {request.user_id} is not in {request.group_id}")
        if request.user_id == group.owner_id:
            raise Refusal(grpc.StatusCode.PERMISSION_DENIED, "the owner can't be removed")
        self.store.leave(group, request.user_id)
        self._member_event("removed", request.group_id, request.user_id)
        return pb.RemoveGroupMemberResp(success=True)

    def disband_group(self, request: pb.DisbandGroupReq, at: float) -> pb.DisbandGroupResp:
        require(group_id=request.group_id, operator_id=request.operator_id)
        group = self._alive(request.group_id)
        if request.operator_id != group.owner_id:
            raise Refusal(grpc.StatusCode.PERMISSION_DENIED, f"only the owner may disband {request.group_id}")
        group.disbanded_at = self.store.now()
        for user_id in group.members:
            self._member_event("removed", request.group_id, user_id)
        return pb.DisbandGroupResp(success=True)

    def get_group_info(self, request: pb.GetGroupInfoReq, at: float) -> pb.GetGroupInfoResp:
        require(group_id=request.group_id)
        return pb.GetGroupInfoResp(group=info_of(self._group(request.group_id, at), at))

    def get_group_by_activity_id(self, request: pb.GetGroupByActivityIdReq, at: float) -> pb.GetGroupByActivityIdResp:
        require(activity_id=request.activity_id)
        groups = [one for one in self.store.by_activity.get(request.activity_id, ()) if one.since <= at]
        if not groups:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"no group of activity {request.activity_id}")
        latest = min(groups, key=lambda group: (-group.created_at, group.group_id))
        return pb.GetGroupByActivityIdResp(group=info_of(latest, at))

    def get_group_members(self, request: pb.GetGroupMembersReq, at: float) -> pb.GetGroupMembersResp:
        require(group_id=request.group_id)
        members = self._arranged(self._group(request.group_id, at).members_as_of(at))
        shown = page_of(members, request.page, request.page_size)
        return pb.GetGroupMembersResp(members=map(member_of, shown), total=len(members))

    def get_user_groups(self, request: pb.GetUserGroupsReq, at: float) -> pb.GetUserGroupsResp:
        require(user_id=request.user_id)
        memberships = self._arranged(self._alive_memberships(request.user_id, at))
        shown = page_of(memberships, request.page, request.page_size)
        groups = [self._user_group(membership, at) for membership in shown]
        return pb.GetUserGroupsResp(groups=groups, total=len(memberships))

    # Messages

    def save_message(self, request: pb.SaveMessageReq, at: float) -> pb.SaveMessageResp:
        sent = request
        require(
            message_id=sent.message_id, group_id=sent.group_id, sender_id=sent.sender_id, msg_type=sent.msg_type
        )  # fmt: skip
        if sent.msg_type == IMAGE:
            require(image_url=sent.image_url)
        else:
            require(content=sent.content)
        self._group(sent.group_id, self.store.now())
        if sent.message_id not in self.store.messages:
            group = self._alive(sent.group_id)
            if sent.sender_id not in group.members:
                raise Refusal(grpc.StatusCode.PERMISSION_DENIED, f"user {sent.sender_id} is not in {sent.group_id}")
            message = self.store.add_message(
                sent.message_id, sent.group_id, sent.sender_id, sent.msg_type, sent.content, sent.image_url
            )
            if self.publishes_messages:
                self._publish("chat.message.new", event_of(message, self._name(message.sender_id)))
        return pb.SaveMessageResp(success=True, message_id=sent.message_id)

    def get_message_history(self, request: pb.GetMessageHistoryReq, at: float) -> pb.GetMessageHistoryResp:
        require(group_id=request.group_id)
        self._group(request.group_id, at)
        messages = self.store.messages_as_of(request.group_id, at)
        end = len(messages)
        if request.before_id:
            before = self._message(request.group_id, request.before_id, at)
            end = before.place
        start = max(end - size_of(request.limit), 0)
        found = [self._shown(message) for message in reversed(messages[start:end])]
        return pb.GetMessageHistoryResp(messages=found, has_more=start > 0)

    def get_offline_messages(self, request: pb.GetOfflineMessagesReq, at: float) -> pb.GetOfflineMessagesResp:
        require(user_id=request.user_id)
        found = [
            message
            for membership in self._alive_memberships(request.user_id, at)
            for message in self.store.messages_as_of(membership.group_id, at)
            if message.created_at > request.after_time
        ]
        found.sort(key=lambda message: message.number)
        return pb.GetOfflineMessagesResp(messages=map(self._shown, found[:MAX_OFFLINE]))

    # Notifications

    def create_notification(self, request: pb.CreateNotificationReq, at: float) -> pb.CreateNotificationResp:
        require(user_id=request.user_id, type=request.type, title=request.title)
        made = self.store.add_notification(self.new_id(), request.user_id, request.type, request.title, request.content)
        event = {
            "user_id": made.user_id, "notification_id": made.notification_id, "type": made.type, "title": made.title,
            "content": made.content, "timestamp": made.created_at,
        }  # fmt: skip
        self._publish("notification:push", event)
        return pb.CreateNotificationResp(notification_id=made.notification_id)

    def get_notifications(self, request: pb.GetNotificationsReq, at: float) -> pb.GetNotificationsResp:
        require(user_id=request.user_id)
        everything = self.store.notifications.get(request.user_id, [])
        found = [one for one in reversed(everything) if request.is_read < 0 or one.is_read is bool(request.is_read)]
        shown = page_of(found, request.page, request.page_size)
        unread = sum(not one.is_read for one in everything)
        return pb.GetNotificationsResp(notifications=map(notification_of, shown), total=len(found), unread_count=unread)

    def mark_notification_read(self, request: pb.MarkNotificationReadReq, at: float) -> pb.MarkNotificationReadResp:
        require(user_id=request.user_id, notification_ids=request.notification_ids)
        count = self._mark(request.user_id, set(request.notification_ids))
        return pb.MarkNotificationReadResp(success=True, updated_count=count)

    def get_unread_count(self, request: pb.GetUnreadCountReq, at: float) -> pb.GetUnreadCountResp:
        require(user_id=request.user_id)
        unread = sum(not one.is_read for one in self.store.notifications.get(request.user_id, ()))
        return pb.GetUnreadCountResp(unread_count=unread)

    def mark_all_read(self, request: pb.MarkAllReadReq, at: float) -> pb.MarkAllReadResp:
        require(user_id=request.user_id)
        return pb.MarkAllReadResp(success=True, affected_count=self._mark(request.user_id, None))

    # What the methods share

    def _arranged(self, listing: Sequence[Item]) -> Sequence[Item]:
        if not self.moves_pages or not listing or self._draws.random() >= MOVED_SHARE:
            return listing
        first = self._draws.randrange(len(listing))
        return [listing[first], *listing[:first], *listing[first + 1 :]]

    def _mark(self, user_id: int, ids: set[str] | None) -> int:
        """Mark these notifications read, or all; return how many were unread."""
        unread = [
            one
            for one in self.store.notifications.get(user_id, ())
            if not one.is_read and (ids is None or one.notification_id in ids)
        ]
        for one in unread:
            one.is_read = True
        return len(unread)

    def _group(self, group_id: str, at: float) -> ChatGroup:
        group = self.store.group_as_of(group_id, at)
        if group is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"no such group: {group_id}")
        return group

    def _alive(self, group_id: str) -> ChatGroup:
        """Return a chat group as of now, unless it has been disbanded."""
        group = self._group(group_id, self.store.now())
        if group.status_as_of(self.store.now()) == DISBANDED:
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, f"{group_id} has been disbanded")
        return group

    def _message(self, group_id: str, message_id: str, at: float) -> StoredMessage:
        message = self.store.message_as_of(message_id, at)
        if message is None or message.group_id != group_id:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"no such message in {group_id}: {message_id}")
        return message

    def _alive_memberships(self, user_id: int, at: float) -> Sequence[Membership]:
        groups = self.store.groups
        found = self.store.memberships_as_of(user_id, at)
        return [one for one in found if groups[one.group_id].status_as_of(at) == NORMAL]

    def _user_group(self, membership: Membership, at: float) -> pb.UserGroupInfo:
        group = self.store.groups[membership.group_id]
        messages = self.store.messages_as_of(group.group_id, at)
        info = pb.UserGroupInfo(role=membership.role, joined_at=membership.joined_at, cover_url=group.cover_url)
        for field, value in info_of(group, at).ListFields():
            setattr(info, field.name, value)
        if messages:
            last = messages[-1]
            info.last_message, info.last_message_at = last.content or last.image_url, last.created_at
            info.last_sender_name = self._name(last.sender_id)
        return info

    def _name(self, user_id: int) -> str:
        return self.store.names.get(user_id, ("", ""))[0]

    def _shown(self, message: StoredMessage) -> pb.Message:
        return pb.Message(
            message_id=message.message_id, group_id=message.group_id, sender_id=message.sender_id,
            sender_name=self._name(message.sender_id), msg_type=message.msg_type, content=message.content,
            image_url=message.image_url, status=NORMAL, created_at=message.created_at,
        )  # fmt: skip

    def _member_event(self, change: str, group_id: str, user_id: int) -> None:
        self._publish(f"chat.group.member.{change}", {"group_id": group_id, "user_id": user_id})


def info_of(group: ChatGroup, at: float) -> pb.GroupInfo:
    return pb.GroupInfo(
        group_id=group.group_id, activity_id=group.activity_id, name=group.name, owner_id=group.owner_id,
        status=group.status_as_of(at), max_members=group.max_members, member_count=len(group.members_as_of(at)),
        created_at=group.created_at,
    )  # fmt: skip


def member_of(membership: Membership) -> pb.GroupMember:
    return pb.GroupMember(
        user_id=membership.user_id, group_id=membership.group_id, role=membership.role, joined_at=membership.joined_at
    )


def notification_of(notification: Notification) -> pb.Notification:
    return pb.Notification(
        notification_id=notification.notification_id, user_id=notification.user_id, type=notification.type,
        title=notification.title, content=notification.content, is_read=int(notification.is_read),
        created_at=notification.created_at,
    )  # fmt: skip


def event_of(message: StoredMessage, sender_name: str) -> dict[str, object]:
    """Return the payload that announces a message."""
    return {
        "message_id": message.message_id, "group_id": message.group_id, "sender_id": message.sender_id,
        "sender_name": sender_name, "sender_avatar": "", "msg_type": message.msg_type, "content": message.content,
        "image_url": message.image_url, "created_at": message.created_at, "sender": str(message.sender_id),
    }  # fmt: skip

"""The gRPC servicer of the reference chat service: it runs each request's use case in a thread."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb.chat_pb2_grpc import ChatServiceServicer
from chatws.reference import lookups, services, threads
from chatws.reference.models import ChatGroup, Member, Message, Notification
from chatws.reference.saving import Saver
from chatws.reference.services import NewMessage, ServiceError, UserGroup
from realtime.exceptions import DatabaseUnavailable

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Answer = TypeVar("Answer")


class ReferenceServicer(ChatServiceServicer):
    """All 16 methods of `chat.ChatService`; ``wake`` is called after each change that may have added an event."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._saver = Saver(wake)

    async def CreateGroup(self, request: pb.CreateGroupReq, context: Context) -> pb.CreateGroupResp:
        group_id = await self._change(
            context, services.create_group, request.activity_id, request.name, request.owner_id,
            request.max_members, request.cover_url,
        )  # fmt: skip
        return pb.CreateGroupResp(group_id=group_id)

    async def AddGroupMember(self, request: pb.AddGroupMemberReq, context: Context) -> pb.AddGroupMemberResp:
        await self._change(context, services.add_member, request.group_id, request.user_id, request.role)
        return pb.AddGroupMemberResp(success=True)

    async def RemoveGroupMember(self, request: pb.RemoveGroupMemberReq, context: Context) -> pb.RemoveGroupMemberResp:
        await self._change(context, services.remove_member, request.group_id, request.user_id, request.operator_id)
        return pb.RemoveGroupMemberResp(success=True)

    async def DisbandGroup(self, request: pb.DisbandGroupReq, context: Context) -> pb.DisbandGroupResp:
        await self._change(context, services.disband_group, request.group_id, request.operator_id)
        return pb.DisbandGroupResp(success=True)

    async def GetGroupInfo(self, request: pb.GetGroupInfoReq, context: Context) -> pb.GetGroupInfoResp:
        return pb.GetGroupInfoResp(group=_group(*await self._ask(context, services.group_info, request.group_id)))

    async def GetGroupMembers(self, request: pb.GetGroupMembersReq, context: Context) -> pb.GetGroupMembersResp:
        members, total = await self._ask(
            context, services.group_members, request.group_id, request.page, request.page_size
        )
        return pb.GetGroupMembersResp(members=map(_member, members), total=total)

    async def GetUserGroups(self, request: pb.GetUserGroupsReq, context: Context) -> pb.GetUserGroupsResp:
        groups, total = await self._ask(context, services.user_groups, request.user_id, request.page, request.page_size)
        return pb.GetUserGroupsResp(groups=map(_user_group, groups), total=total)

    async def GetGroupByActivityId(
        self, request: pb.GetGroupByActivityIdReq, context: Context
    ) -> pb.GetGroupByActivityIdResp:
        found = await self._ask(context, services.group_by_activity, request.activity_id)
        return pb.GetGroupByActivityIdResp(group=_group(*found))

    async def SaveMessage(self, request: pb.SaveMessageReq, context: Context) -> pb.SaveMessageResp:
        message = NewMessage(
            request.message_id,
            request.group_id,
            request.sender_id,
            request.msg_type,
            request.content,
            request.image_url,
        )
        await answer_of(context, self._saver.save(message))
        return pb.SaveMessageResp(success=True, message_id=request.message_id)

    async def GetMessageHistory(self, request: pb.GetMessageHistoryReq, context: Context) -> pb.GetMessageHistoryResp:
        messages, has_more = await self._ask(context, _history, request)
        return pb.GetMessageHistoryResp(messages=messages, has_more=has_more)

    async def GetOfflineMessages(
        self, request: pb.GetOfflineMessagesReq, context: Context
    ) -> pb.GetOfflineMessagesResp:
        return pb.GetOfflineMessagesResp(messages=await self._ask(context, _offline, request))

    async def CreateNotification(
        self, request: pb.CreateNotificationReq, context: Context
    ) -> pb.CreateNotificationResp:
        notification_id = await self._change(
            context, services.create_notification, request.user_id, request.type, request.title, request.content
        )
        return pb.CreateNotificationResp(notification_id=notification_id)

    async def GetNotifications(self, request: pb.GetNotificationsReq, context: Context) -> pb.GetNotificationsResp:
        found, total, unread = await self._ask(
            context, services.notifications, request.user_id, request.is_read, request.page, request.page_size
        )
        return pb.GetNotificationsResp(notifications=map(_notification, found), total=total, unread_count=unread)

    async def MarkNotificationRead(
        self, request: pb.MarkNotificationReadReq, context: Context
    ) -> pb.MarkNotificationReadResp:
        ids = list(request.notification_ids)
        count = await self._change(context, services.mark_notifications_read, request.user_id, ids)
        return pb.MarkNotificationReadResp(success=True, updated_count=count)

    async def GetUnreadCount(self, request: pb.GetUnreadCountReq, context: Context) -> pb.GetUnreadCountResp:
        count = await self._ask(context, services.unread_count, request.user_id)
        return pb.GetUnreadCountResp(unread_count=count)

    async def MarkAllRead(self, request: pb.MarkAllReadReq, context: Context) -> pb.MarkAllReadResp:
        count = await self._change(context, services.mark_all_read, request.user_id)
        return pb.MarkAllReadResp(success=True, affected_count=count)

    async def _change(self, context: Context, use_case: Callable[..., Answer], *args: object) -> Answer:
        answer = await answer_of(context, threads.write(use_case, *args))
        self._wake()
        return answer

    async def _ask(self, context: Context, use_case: Callable[..., Answer], *args: object) -> Answer:
        return await answer_of(context, threads.read(use_case, *args))


async def answer_of(context: Context, answer: Awaitable[Answer]) -> Answer:
    """Return a use case's result; abort the call with the status of its `ServiceError`."""
    try:
        return await answer
    except ServiceError as error:
        await context.abort(grpc.StatusCode[error.status], str(error))
    except DatabaseUnavailable as error:
        logger.warning("a call failed: %s", error)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the chat service's database is unavailable")
    except Exception as error:  # a boundary: the call is answered with INTERNAL
        logger.exception("a call failed")
        await context.abort(grpc.StatusCode.INTERNAL, type(error).__name__)
    raise AssertionError("abort always raises")


def _history(request: pb.GetMessageHistoryReq) -> tuple[list[pb.Message], bool]:
    found, has_more = services.message_history(request.group_id, request.before_id, request.limit)
    return _messages(found), has_more


def _offline(request: pb.GetOfflineMessagesReq) -> list[pb.Message]:
    return _messages(services.offline_messages(request.user_id, request.after_time))


def _messages(found: list[Message]) -> list[pb.Message]:
    names = lookups.names_of(message.sender_id for message in found)
    return [
        pb.Message(
            message_id=message.message_id, group_id=message.group_id, sender_id=message.sender_id,
            sender_name=names.get(message.sender_id, ""), msg_type=message.msg_type, content=message.content,
            image_url=message.image_url, status=message.status, created_at=message.created_at,
        )
        for message in found
    ]  # fmt: skip


def _group(group: ChatGroup, member_count: int) -> pb.GroupInfo:
    return pb.GroupInfo(
        group_id=group.group_id, activity_id=group.activity_id, name=group.name, owner_id=group.owner_id,
        status=group.status, max_members=group.max_members, member_count=member_count, created_at=group.created_at,
    )  # fmt: skip


def _user_group(found: UserGroup) -> pb.UserGroupInfo:
    group, last = found.member.group, found.last
    return pb.UserGroupInfo(
        group_id=group.group_id, activity_id=group.activity_id, name=group.name, owner_id=group.owner_id,
        status=group.status, max_members=group.max_members, member_count=found.member_count,
        created_at=group.created_at, role=found.member.role, joined_at=found.member.joined_at,
        last_message=(last.content or last.image_url) if last and last.status == Message.NORMAL else "",
        last_message_at=last.created_at if last else 0, cover_url=group.cover_url,
        last_sender_name=found.last_sender_name,
    )  # fmt: skip


def _member(member: Member) -> pb.GroupMember:
    return pb.GroupMember(
        user_id=member.user_id, group_id=member.group_id, role=member.role, joined_at=member.joined_at
    )


def _notification(notification: Notification) -> pb.Notification:
    return pb.Notification(
        notification_id=notification.notification_id, user_id=notification.user_id, type=notification.type,
        title=notification.title, content=notification.content, is_read=int(notification.is_read),
        created_at=notification.created_at,
    )  # fmt: skip

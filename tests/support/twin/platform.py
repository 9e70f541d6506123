"""Serve the calls of the chat service and the user service, and process the activity events."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import grpc
import redis.asyncio
from redis.exceptions import RedisError

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import user_pb2
from realtime.relay.watermill import encode
from tests.support.twin.control import CONTROL
from tests.support.twin.database import Failure
from tests.support.twin.store import Store

FAILURE = "内部服务器错误"
EVENTS = ("activity.created", "activity.member.joined", "activity.member.left", "activity.cancelled")


METHODS: dict[str, tuple[type[Any], Callable[[Store, Any], Any]]] = {
    "CreateGroup": (pb.CreateGroupReq, Store.create_group),
    "AddGroupMember": (pb.AddGroupMemberReq, Store.add_member),
    "RemoveGroupMember": (pb.RemoveGroupMemberReq, Store.remove_member),
    "DisbandGroup": (pb.DisbandGroupReq, Store.disband),
    "GetGroupInfo": (pb.GetGroupInfoReq, Store.group_info),
    "GetGroupByActivityId": (pb.GetGroupByActivityIdReq, Store.group_of_activity),
    "GetGroupMembers": (pb.GetGroupMembersReq, Store.group_members),
    "GetUserGroups": (pb.GetUserGroupsReq, Store.user_groups),
    "SaveMessage": (pb.SaveMessageReq, Store.save_message),
    "GetMessageHistory": (pb.GetMessageHistoryReq, Store.history),
    "GetOfflineMessages": (pb.GetOfflineMessagesReq, Store.offline),
    "CreateNotification": (pb.CreateNotificationReq, Store.notify),
    "GetNotifications": (pb.GetNotificationsReq, Store.notifications),
    "GetUnreadCount": (pb.GetUnreadCountReq, Store.unread),
    "MarkNotificationRead": (pb.MarkNotificationReadReq, Store.mark_read),
    "MarkAllRead": (pb.MarkAllReadReq, Store.mark_all),
}


class Platform(grpc.GenericRpcHandler):
    """Serve the chat service, the user service and the tests' instructions."""

    def __init__(self, store: Store, events: "redis.asyncio.Redis") -> None:
        self._store = store
        self._events: Any = events
        self._saves = ""
        """The failure of each SaveMessage: `hang before` or `refuse` before storing, then `fail`, `hang`, `drop`."""
        self._users = ""
        """The failure of the user service: `slow` or `away`."""
        self._calls = ""
        """`overloaded`: it rejects all calls, as go-zero services do when the processor is busy."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        service, _, method = details.method.strip("/").rpartition("/")
        if details.method == CONTROL:
            return grpc.unary_unary_rpc_method_handler(self._told)
        if service == "user.UserBasicService" and method == "GetGroupUser":
            return grpc.unary_unary_rpc_method_handler(
                self._people, user_pb2.GetGroupUserReq.FromString, user_pb2.GetGroupUserResponse.SerializeToString
            )
        if service != "chat.ChatService" or method not in METHODS:
            return None
        kind, call = METHODS[method]

        async def serve(request: Any, context: Any) -> Any:
            if self._calls == "overloaded":
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "service overloaded")
            try:
                if method == "SaveMessage" and self._saves == "hang before":
                    await asyncio.Event().wait()
                if method == "SaveMessage" and self._saves == "refuse":
                    raise Failure
                answer = await asyncio.to_thread(call, self._store, request)
            except Failure:
                await context.abort(grpc.StatusCode.UNKNOWN, FAILURE)
            if method == "SaveMessage" and self._saves:
                await self._disturb(context)
            if method == "CreateNotification":
                await self._push(request, answer.notification_id)
            return answer

        return grpc.unary_unary_rpc_method_handler(serve, kind.FromString, lambda answer: answer.SerializeToString())

    async def _disturb(self, context: Any) -> None:
        if self._saves == "hang":
            await asyncio.Event().wait()
        if self._saves == "drop":
            os.kill(os.getpid(), signal.SIGKILL)
        await context.abort(grpc.StatusCode.UNKNOWN, FAILURE)

    async def _people(self, request: user_pb2.GetGroupUserReq, context: Any) -> Any:
        if self._users == "slow":
            await asyncio.Event().wait()
        if self._users == "away":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        known = self._store.people(request.ids)
        users = [
            user_pb2.GroupUserInfo(id=user_id, nickname=name, avatar_url=avatar)
            for user_id, (name, avatar) in known.items()
        ]
        return user_pb2.GetGroupUserResponse(users=users)

    async def _told(self, request: bytes, context: object) -> bytes:
        told = json.loads(request)
        self._saves = told.get("saves", self._saves)
        self._users = told.get("users", self._users)
        self._calls = told.get("calls", self._calls)
        self._store.now = told.get("now", self._store.now)
        for user_id, name, avatar in told.get("people", []):
            self._store.meet(user_id, name, avatar)
        return b"{}"

    async def _push(self, request: pb.CreateNotificationReq, notification_id: str) -> None:
        event = {
            "user_id": request.user_id, "notification_id": notification_id, "type": request.type,
            "title": request.title, "content": request.content, "timestamp": int(time.time()),
        }  # fmt: skip
        await self._publish("notification:push", event)

    async def _publish(self, topic: str, event: Mapping[str, object]) -> None:
        payload = json.dumps(event, ensure_ascii=False).encode()
        with suppress(RedisError, OSError):  # the real service only logs a message that cannot be published
            await self._events.xadd(topic, encode(payload, {"topic": topic}))

    async def follow_events(self) -> None:
        """Process the activity events in order; skip one that fails, as the real service finally does."""
        while True:
            try:
                positions = {topic: self._store.position(topic) for topic in EVENTS}
                for topic, entries in await self._events.xread(positions, count=10, block=500):
                    for entry_id, fields in entries:
                        await self._serve_event(topic.decode(), json.loads(fields[b"payload"]))
                        self._store.move_to(topic.decode(), entry_id.decode())
            except (RedisError, OSError):
                await asyncio.sleep(0.1)

    async def _serve_event(self, topic: str, event: Mapping[str, Any]) -> None:
        store, activity = self._store, event["activity_id"]
        try:
            if topic == "activity.created":
                create = pb.CreateGroupReq(activity_id=activity, name=event["title"], owner_id=event["creator_id"])
                store.create_group(create)
                await self._notify(event["creator_id"], "group_created")
                return
            group = store.group_of_activity(pb.GetGroupByActivityIdReq(activity_id=activity)).group
            place = {"group_id": group.group_id, "user_id": event.get("user_id", 0)}
            if topic == "activity.member.joined":
                store.add_member(pb.AddGroupMemberReq(**place))
                await self._publish("chat.group.member.added", place)
                await self._notify(event["user_id"], "group_joined")
            elif topic == "activity.member.left":
                store.remove_member(pb.RemoveGroupMemberReq(**place))
                await self._publish("chat.group.member.removed", place)
                await self._notify(event["user_id"], "group_left")
            else:
                members = store.group_members(pb.GetGroupMembersReq(group_id=group.group_id, page_size=100)).members
                store.disband(pb.DisbandGroupReq(group_id=group.group_id, operator_id=event["cancelled_by"]))
                for member in members:
                    await self._notify(member.user_id, "activity_cancelled")
        except Failure:
            return

    async def _notify(self, user_id: int, kind: str) -> None:
        request = pb.CreateNotificationReq(user_id=user_id, type=kind, title=kind, content=kind)
        await self._push(request, self._store.notify(request).notification_id)

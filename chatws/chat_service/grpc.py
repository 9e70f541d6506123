"""`ChatGateway` over grpc.aio: deadlines, retries, keepalive, TLS. The gateway's only door to grpc."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import grpc

from chatws.chat_service.channel import Channel, NobodyThere
from chatws.chat_service.circuit_breaker import Circuit
from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import ext_pb2 as ext
from chatws.chat_service.pb.chat_pb2_grpc import ChatServiceStub
from chatws.chat_service.pb.ext_pb2_grpc import ReadCursorsStub
from chatws.chat_service.port import (
    UNAVAILABLE,
    UNSUPPORTED,
    ChatServiceError,
    ChatServiceUnavailable,
    Group,
    GroupInfo,
    GroupMember,
    History,
    Message,
    Notification,
    Notifications,
    Page,
    ReadCursor,
    Unsupported,
    error_of,
)  # fmt: skip
from chatws.conf import ChatConf
from realtime.observability import metrics, tracing

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNKNOWN: 503,  # a service in Go or Python answers so whatever went wrong: it may pass
    grpc.StatusCode.CANCELLED: 503,  # an instance that ends takes its calls back so
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 503,
}
NOT_ANSWERED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
PROBE_SECONDS, PROBE_AGAIN_SECONDS = 1.0, 2.0
"""How long, and how often, it is found out whether the service answers."""
LACKING_SECONDS = 60.0
"""How long a chat service that answered UNIMPLEMENTED isn't asked for its extension again."""
SERVICE, EXTENSION = "chat.ChatService", "chat.ext.ReadCursors"

Value = TypeVar("Value")


class GrpcChatGateway:
    """The chat service behind a channel, made on the first call, in the loop that makes it.

    Raises:
        ImproperlyConfigured: the target can't be read; the message names `CHATWS_RPC_TARGET`.
    """

    def __init__(self, conf: ChatConf) -> None:
        self._seconds = conf.rpc_seconds
        self._channel = Channel("CHATWS_RPC_TARGET", conf.rpc_target, SERVICE, EXTENSION, tls_ca=conf.rpc_tls_ca)
        self._name = f"the chat service at {self._channel.address}"
        self._circuit = Circuit(self._name)
        self._stubs: tuple[grpc.aio.Channel, Any, Any] | None = None
        self._lacks_ext_until = 0.0
        self._probe_at = 0.0
        self._answers = False

    async def group_info(self, group_id: str) -> GroupInfo:
        answer = await self._call("GetGroupInfo", pb.GetGroupInfoReq(group_id=group_id))
        return _value(GroupInfo, answer.group)

    async def group_members(self, group_id: str, page: int, page_size: int) -> Page[GroupMember]:
        request = pb.GetGroupMembersReq(group_id=group_id, page=page, page_size=page_size)
        answer = await self._call("GetGroupMembers", request)
        return Page(_values(GroupMember, answer.members), answer.total)

    async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Group]:
        request = pb.GetUserGroupsReq(user_id=user_id, page=page, page_size=page_size)
        answer = await self._call("GetUserGroups", request)
        return Page(_values(Group, answer.groups), answer.total)

    async def save_message(
        self, *, message_id: str, group_id: str, sender_id: int, msg_type: int, content: str, image_url: str
    ) -> str:
        request = pb.SaveMessageReq(
            message_id=message_id, group_id=group_id, sender_id=sender_id,
            msg_type=msg_type, content=content, image_url=image_url,
        )  # fmt: skip
        answer = await self._call("SaveMessage", request)
        if not answer.success:
            raise ChatServiceError(500, "the chat service did not store the message")
        return answer.message_id or message_id

    async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
        request = pb.GetMessageHistoryReq(group_id=group_id, before_id=before_id, limit=limit)
        answer = await self._call("GetMessageHistory", request)
        return History(_values(Message, answer.messages), answer.has_more)

    async def offline_messages(self, user_id: int, after_time: int) -> Sequence[Message]:
        request = pb.GetOfflineMessagesReq(user_id=user_id, after_time=after_time)
        return _values(Message, (await self._call("GetOfflineMessages", request)).messages)

    async def notifications(self, user_id: int, is_read: int, page: int, page_size: int) -> Notifications:
        request = pb.GetNotificationsReq(user_id=user_id, is_read=is_read, page=page, page_size=page_size)
        answer = await self._call("GetNotifications", request)
        return Notifications(_values(Notification, answer.notifications), answer.total, answer.unread_count)

    async def unread_notifications(self, user_id: int) -> int:
        return int((await self._call("GetUnreadCount", pb.GetUnreadCountReq(user_id=user_id))).unread_count)

    async def mark_notifications_read(self, user_id: int, notification_ids: Sequence[str]) -> int:
        request = pb.MarkNotificationReadReq(user_id=user_id, notification_ids=notification_ids)
        return int((await self._call("MarkNotificationRead", request)).updated_count)

    async def mark_all_notifications_read(self, user_id: int) -> int:
        return int((await self._call("MarkAllRead", pb.MarkAllReadReq(user_id=user_id))).affected_count)

    async def mark_read(self, user_id: int, group_id: str, message_id: str) -> str:
        request = ext.MarkReadReq(user_id=user_id, group_id=group_id, message_id=message_id)
        return str((await self._call_ext("MarkRead", request)).message_id)

    async def group_cursors(self, group_id: str, user_ids: Sequence[int]) -> Sequence[ReadCursor]:
        request = ext.GetGroupCursorsReq(group_id=group_id, user_ids=user_ids)
        return _values(ReadCursor, (await self._call_ext("GetGroupCursors", request)).cursors)

    async def user_cursors(self, user_id: int, group_ids: Sequence[str]) -> Sequence[ReadCursor]:
        request = ext.GetUserCursorsReq(user_id=user_id, group_ids=group_ids)
        return _values(ReadCursor, (await self._call_ext("GetUserCursors", request)).cursors)

    @property
    def instances(self) -> Sequence[str]:
        """``host:port`` of each instance that is called, where they are looked up in etcd."""
        return self._channel.instances

    async def state(self) -> str:
        state = await self._channel.state()
        if state != "ok":
            return state
        now = time.monotonic()
        if now >= self._probe_at:  # a service that hangs accepts connections all the same
            self._answers = await self._probe()
            self._probe_at = now + PROBE_AGAIN_SECONDS
        return "ok" if self._answers else f"doesn't answer ({self._channel.address})"

    async def _probe(self) -> bool:
        """Whether the chat service answers a small question at all."""
        try:
            await (await self._open())[0].GetUnreadCount(pb.GetUnreadCountReq(user_id=1), timeout=PROBE_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() in NOT_ANSWERED:
                return False
        self._circuit.succeeded()
        return True

    async def close(self) -> None:
        await self._channel.close()

    async def _open(self) -> tuple[Any, Any]:
        """The stubs of the chat service and of its extension, for the channel to call by now."""
        try:
            channel = await self._channel.open(self._seconds)
        except NobodyThere as error:
            raise ChatServiceUnavailable(
                UNAVAILABLE, f"the chat service can't be found: {error}", was_asked=False
            ) from None
        if self._stubs is None or self._stubs[0] is not channel:
            self._stubs = (channel, ChatServiceStub(channel), ReadCursorsStub(channel))
        return self._stubs[1:]

    async def _call(self, method: str, request: object) -> Any:
        return await self._ask(SERVICE, method, getattr((await self._open())[0], method), request)

    async def _call_ext(self, method: str, request: object) -> Any:
        if time.monotonic() < self._lacks_ext_until:
            raise Unsupported(UNSUPPORTED, "the chat service keeps no read cursors")
        try:
            return await self._ask(EXTENSION, method, getattr((await self._open())[1], method), request)
        except Unsupported:
            self._lacks_ext_until = time.monotonic() + LACKING_SECONDS
            raise

    async def _ask(self, service: str, method: str, call: Any, request: object) -> Any:
        if not self._circuit.lets_through():
            metrics.rpc_seconds.labels(method, "CIRCUIT_OPEN").observe(0)
            raise ChatServiceUnavailable(UNAVAILABLE, f"{self._name} doesn't answer", was_asked=False)
        seconds = min(self._seconds, self._circuit.patience)
        began = time.monotonic()
        outcome = "CANCELLED"
        try:
            with tracing.current.call(f"{service}/{method}") as metadata:
                answer = await call(request, timeout=seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
            code = CODES.get(error.code(), 500)
            detail = error.details() or outcome
            if error.code() in NOT_ANSWERED:
                self._circuit.failed(began, detail)
                detail = f"{self._name} can't be reached: {detail}"
            else:
                self._circuit.succeeded()
            raise error_of(code, detail) from error
        else:
            outcome = "OK"
            self._circuit.succeeded()
            return answer
        finally:
            metrics.rpc_seconds.labels(method, outcome).observe(time.monotonic() - began)


@cache
def _reader(kind: type[Any]) -> "attrgetter[Any]":
    return attrgetter(*(field.name for field in fields(kind)))


def _value(kind: type[Value], message: object) -> Value:
    """A message of the contract as a value of ours: their fields have the same names."""
    return kind(*_reader(kind)(message))  # type: ignore[arg-type]  # types are hashable


def _values(kind: type[Value], messages: Iterable[object]) -> list[Value]:
    return [_value(kind, message) for message in messages]

"""Call the chat service over gRPC (`ChatGateway` by grpc.aio), with deadlines and a circuit breaker."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc

from chatws.chat_service import decoding
from chatws.chat_service.channel import Channel, NoInstance
from chatws.chat_service.circuit_breaker import Circuit
from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import ext_pb2 as ext
from chatws.chat_service.pb.chat_pb2_grpc import ChatServiceStub
from chatws.chat_service.pb.ext_pb2_grpc import ReadCursorsStub
from chatws.chat_service.port import (
    UNAVAILABLE,
    UNSUPPORTED,
    AnswerTooLarge,
    ChatServiceError,
    ChatServiceUnavailable,
    Group,
    GroupInfo,
    GroupMember,
    History,
    Message,
    Notifications,
    Page,
    ReadCursor,
    Unsupported,
    error_of,
)  # fmt: skip
from chatws.conf import ChatConf
from realtime.observability import metrics, tracing

if TYPE_CHECKING:  # types that exist only in the stubs
    from chatws.chat_service.pb.chat_pb2_grpc import ChatServiceAsyncStub
    from chatws.chat_service.pb.ext_pb2_grpc import ReadCursorsAsyncStub

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNKNOWN: 503,  # a service in Go or Python answers this for any failure, so it may be transient
    grpc.StatusCode.CANCELLED: 503,  # a stopping instance returns its calls with this status
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 503,
}
TOO_LARGE = "Received message larger than max"
"""gRPC's own words for an answer over the channel's limit; its status is that of an overloaded service."""
DEFAULT_LIMIT = 20
NOT_ANSWERED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
PROBE_SECONDS, PROBE_AGAIN_SECONDS = 1.0, 2.0
"""The deadline of a probe, and how long its result is reused."""
UNSUPPORTED_SECONDS = 60.0
"""How long the extension is not called after the chat service answered UNIMPLEMENTED."""
SERVICE, EXTENSION = "chat.ChatService", "chat.ext.ReadCursors"

Request = TypeVar("Request")
Response = TypeVar("Response")


class GrpcChatGateway:
    """The chat service behind a channel, which is created by the first call, in that call's event loop.

    Raises:
        ImproperlyConfigured: the target is invalid; the message names `CHATWS_RPC_TARGET`.
    """

    def __init__(self, conf: ChatConf) -> None:
        self._seconds = conf.rpc_seconds
        self._channel = Channel("CHATWS_RPC_TARGET", conf.rpc_target, SERVICE, EXTENSION, tls_ca=conf.rpc_tls_ca)
        self._name = f"the chat service at {self._channel.address}"
        self._circuit = Circuit(self._name)
        self._stubs: tuple[grpc.aio.Channel, ChatServiceAsyncStub, ReadCursorsAsyncStub] | None = None
        self._ext_unsupported_until = 0.0
        self._probe_at = 0.0
        self._answers = False

    async def group_info(self, group_id: str) -> GroupInfo:
        stub = await self._chat()
        answer = await self._call("GetGroupInfo", stub.GetGroupInfo, pb.GetGroupInfoReq(group_id=group_id))
        return decoding.group_info(answer.group)

    async def group_members(self, group_id: str, page: int, page_size: int) -> Page[GroupMember]:
        request = pb.GetGroupMembersReq(group_id=group_id, page=page, page_size=page_size)
        answer = await self._call("GetGroupMembers", (await self._chat()).GetGroupMembers, request)
        return Page([decoding.group_member(member) for member in answer.members], answer.total)

    async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Group]:
        request = pb.GetUserGroupsReq(user_id=user_id, page=page, page_size=page_size)
        answer = await self._call("GetUserGroups", (await self._chat()).GetUserGroups, request)
        return Page([decoding.group(group) for group in answer.groups], answer.total)

    async def save_message(
        self, *, message_id: str, group_id: str, sender_id: int, msg_type: int, content: str, image_url: str
    ) -> str:
        request = pb.SaveMessageReq(
            message_id=message_id, group_id=group_id, sender_id=sender_id,
            msg_type=msg_type, content=content, image_url=image_url,
        )  # fmt: skip
        answer = await self._call("SaveMessage", (await self._chat()).SaveMessage, request)
        if not answer.success:
            raise ChatServiceError(500, "the chat service did not store the message")
        return answer.message_id or message_id

    async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
        stub = await self._chat()
        while True:
            request = pb.GetMessageHistoryReq(group_id=group_id, before_id=before_id, limit=limit)
            try:
                answer = await self._call("GetMessageHistory", stub.GetMessageHistory, request)
                break
            except AnswerTooLarge:
                limit = (limit or DEFAULT_LIMIT) // 4
                if not limit:
                    raise
        return History([decoding.stored_message(message) for message in answer.messages], answer.has_more)

    async def offline_messages(self, user_id: int, after_time: int) -> Sequence[Message]:
        request = pb.GetOfflineMessagesReq(user_id=user_id, after_time=after_time)
        answer = await self._call("GetOfflineMessages", (await self._chat()).GetOfflineMessages, request)
        return [decoding.stored_message(message) for message in answer.messages]

    async def notifications(self, user_id: int, is_read: int, page: int, page_size: int) -> Notifications:
        request = pb.GetNotificationsReq(user_id=user_id, is_read=is_read, page=page, page_size=page_size)
        answer = await self._call("GetNotifications", (await self._chat()).GetNotifications, request)
        found = [decoding.notification(notification) for notification in answer.notifications]
        return Notifications(found, answer.total, answer.unread_count)

    async def unread_notifications(self, user_id: int) -> int:
        request = pb.GetUnreadCountReq(user_id=user_id)
        return (await self._call("GetUnreadCount", (await self._chat()).GetUnreadCount, request)).unread_count

    async def mark_notifications_read(self, user_id: int, notification_ids: Sequence[str]) -> int:
        request = pb.MarkNotificationReadReq(user_id=user_id, notification_ids=notification_ids)
        answer = await self._call("MarkNotificationRead", (await self._chat()).MarkNotificationRead, request)
        return answer.updated_count

    async def mark_all_notifications_read(self, user_id: int) -> int:
        request = pb.MarkAllReadReq(user_id=user_id)
        return (await self._call("MarkAllRead", (await self._chat()).MarkAllRead, request)).affected_count

    async def mark_read(self, user_id: int, group_id: str, message_id: str) -> str:
        request = ext.MarkReadReq(user_id=user_id, group_id=group_id, message_id=message_id)
        return (await self._call_ext("MarkRead", (await self._read_cursors()).MarkRead, request)).message_id

    async def group_cursors(self, group_id: str, user_ids: Sequence[int]) -> Sequence[ReadCursor]:
        request = ext.GetGroupCursorsReq(group_id=group_id, user_ids=user_ids)
        answer = await self._call_ext("GetGroupCursors", (await self._read_cursors()).GetGroupCursors, request)
        return [decoding.read_cursor(cursor) for cursor in answer.cursors]

    async def user_cursors(self, user_id: int, group_ids: Sequence[str]) -> Sequence[ReadCursor]:
        request = ext.GetUserCursorsReq(user_id=user_id, group_ids=group_ids)
        answer = await self._call_ext("GetUserCursors", (await self._read_cursors()).GetUserCursors, request)
        return [decoding.read_cursor(cursor) for cursor in answer.cursors]

    @property
    def instances(self) -> Sequence[str]:
        """Return ``host:port`` of each instance that is called; empty if the setting lists IP addresses."""
        return self._channel.instances

    async def state(self) -> str:
        state = await self._channel.state()
        if state != "ok":
            return state
        now = time.monotonic()
        if now >= self._probe_at:  # a hanging service still accepts connections
            self._answers = await self._probe()
            self._probe_at = now + PROBE_AGAIN_SECONDS
        return "ok" if self._answers else f"doesn't answer ({self._channel.address})"

    async def _probe(self) -> bool:
        """Return whether the chat service answers a small call at all, with whatever status."""
        try:
            await (await self._chat()).GetUnreadCount(pb.GetUnreadCountReq(user_id=1), timeout=PROBE_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() in NOT_ANSWERED:
                return False
        self._circuit.succeeded()
        return True

    async def close(self) -> None:
        await self._channel.close()

    async def _chat(self) -> "ChatServiceAsyncStub":
        return (await self._open())[0]

    async def _read_cursors(self) -> "ReadCursorsAsyncStub":
        """Return the stub of the extension; raise `Unsupported` if the chat service lacked it a moment ago."""
        if time.monotonic() < self._ext_unsupported_until:
            raise Unsupported(UNSUPPORTED, "the chat service has no read cursors")
        return (await self._open())[1]

    async def _open(self) -> "tuple[ChatServiceAsyncStub, ReadCursorsAsyncStub]":
        """Return the stubs of the current channel; the channel may have been replaced since the last call."""
        try:
            channel = await self._channel.open(self._seconds)
        except NoInstance as error:
            raise ChatServiceUnavailable(
                UNAVAILABLE, f"the chat service has no known instance: {error}", was_asked=False
            ) from None
        if self._stubs is None or self._stubs[0] is not channel:
            self._stubs = (channel, ChatServiceStub(channel), ReadCursorsStub(channel))
        return self._stubs[1:]

    async def _call_ext(
        self, method: str, call: "grpc.aio.UnaryUnaryMultiCallable[Request, Response]", request: Request
    ) -> Response:
        try:
            return await self._call(method, call, request, EXTENSION)
        except Unsupported:
            self._ext_unsupported_until = time.monotonic() + UNSUPPORTED_SECONDS
            raise

    async def _call(
        self,
        method: str,
        call: "grpc.aio.UnaryUnaryMultiCallable[Request, Response]",
        request: Request,
        service: str = SERVICE,
    ) -> Response:
        if not self._circuit.allows_call():
            metrics.rpc_seconds.labels(method, "CIRCUIT_OPEN").observe(0)
            raise ChatServiceUnavailable(UNAVAILABLE, f"{self._name} doesn't answer", was_asked=False)
        seconds = min(self._seconds, self._circuit.call_seconds)
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
                detail = f"{self._name} is unavailable: {detail}"
            else:
                self._circuit.succeeded()
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in detail:
                raise AnswerTooLarge(500, f"{self._name}: the answer to {method} is too large") from error
            raise error_of(code, detail) from error
        else:
            outcome = "OK"
            self._circuit.succeeded()
            return answer
        finally:
            metrics.rpc_seconds.labels(method, outcome).observe(time.monotonic() - began)

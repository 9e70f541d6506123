"""`ChatGateway` over grpc.aio: deadlines, retries, keepalive, TLS. The gateway's only door to grpc."""

import ipaddress
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc
from django.core.exceptions import ImproperlyConfigured

from chatws.conf import ChatConf
from chatws.rpc.circuit import Circuit
from chatws.rpc.gateway import ChatServiceError, Group, History, Message, Page
from chatws.rpc.pb import chat_pb2 as pb
from chatws.rpc.pb.chat_pb2_grpc import ChatServiceStub
from realtime import metrics, tracing

if TYPE_CHECKING:
    from chatws.rpc.pb.chat_pb2_grpc import ChatServiceAsyncStub

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 503,
}
AWAY = 503
SERVICE = "chat.ChatService"

SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": SERVICE}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}
OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    # Go servers answer GOAWAY to pings more often than every 5 minutes.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]

Answer = TypeVar("Answer")


class GrpcChatGateway:
    """The chat service behind a grpc.aio channel, made on the first call, in the loop that makes it.

    Raises:
        ImproperlyConfigured: the target can't be read; the message names `CHATWS_RPC_TARGET`.
    """

    def __init__(self, conf: ChatConf) -> None:
        self._conf = conf
        self._target = target_of(conf.rpc_target)
        self._circuit = Circuit(f"the chat service at {conf.rpc_target}")
        self._opened: tuple[grpc.aio.Channel, ChatServiceAsyncStub] | None = None

    async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Group]:
        request = pb.GetUserGroupsReq(user_id=user_id, page=page, page_size=page_size)
        answer = await self._call("GetUserGroups", self._stub().GetUserGroups, request)
        groups = [
            Group(
                group_id=group.group_id, activity_id=group.activity_id, name=group.name, owner_id=group.owner_id,
                status=group.status, max_members=group.max_members, member_count=group.member_count,
                created_at=group.created_at, role=group.role, joined_at=group.joined_at,
                last_message=group.last_message, last_message_at=group.last_message_at, cover_url=group.cover_url,
                last_sender_name=group.last_sender_name,
            )
            for group in answer.groups
        ]  # fmt: skip
        return Page(groups, answer.total)

    async def save_message(
        self, *, message_id: str, group_id: str, sender_id: int, msg_type: int, content: str, image_url: str
    ) -> str:
        request = pb.SaveMessageReq(
            message_id=message_id, group_id=group_id, sender_id=sender_id,
            msg_type=msg_type, content=content, image_url=image_url,
        )  # fmt: skip
        answer = await self._call("SaveMessage", self._stub().SaveMessage, request)
        if not answer.success:
            raise ChatServiceError(500, "the chat service did not store the message")
        return answer.message_id or message_id

    async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
        request = pb.GetMessageHistoryReq(group_id=group_id, before_id=before_id, limit=limit)
        answer = await self._call("GetMessageHistory", self._stub().GetMessageHistory, request)
        messages = [
            Message(
                message_id=message.message_id, group_id=message.group_id, sender_id=message.sender_id,
                sender_name=message.sender_name, msg_type=message.msg_type, content=message.content,
                image_url=message.image_url, status=message.status, created_at=message.created_at,
            )
            for message in answer.messages
        ]  # fmt: skip
        return History(messages, answer.has_more)

    async def state(self) -> str:
        state = self._open()[0].get_state(try_to_connect=True)
        return "ok" if state is grpc.ChannelConnectivity.READY else f"{state.name.lower()} ({self._conf.rpc_target})"

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened[0].close()
            self._opened = None

    def _stub(self) -> "ChatServiceAsyncStub":
        return self._open()[1]

    def _open(self) -> tuple[grpc.aio.Channel, "ChatServiceAsyncStub"]:
        if self._opened is None:
            if self._conf.rpc_tls_ca:
                roots = Path(self._conf.rpc_tls_ca).read_bytes()
                credentials = grpc.ssl_channel_credentials(root_certificates=roots)
                channel = grpc.aio.secure_channel(self._target, credentials, options=OPTIONS)
            else:
                channel = grpc.aio.insecure_channel(self._target, options=OPTIONS)
            self._opened = (channel, ChatServiceStub(channel))
        return self._opened

    async def _call(self, method: str, call: Callable[..., Awaitable[Answer]], request: object) -> Answer:
        if not self._circuit.lets_through():
            metrics.rpc_seconds.labels(method, "CIRCUIT_OPEN").observe(0)
            raise ChatServiceError(AWAY, f"the chat service at {self._conf.rpc_target} doesn't answer")
        began = time.perf_counter()
        outcome = "CANCELLED"
        try:
            with tracing.current.call(f"{SERVICE}/{method}") as metadata:
                answer = await call(request, timeout=self._conf.rpc_seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
            code = CODES.get(error.code(), 500)
            detail = error.details() or outcome
            if code == AWAY:
                self._circuit.failed(detail)
                detail = f"the chat service at {self._conf.rpc_target} can't be reached: {detail}"
            else:
                self._circuit.succeeded()
            raise ChatServiceError(code, detail) from error
        else:
            outcome = "OK"
            self._circuit.succeeded()
            return answer
        finally:
            metrics.rpc_seconds.labels(method, outcome).observe(time.perf_counter() - began)


def target_of(setting: str) -> str:
    """A gRPC target for ``IP:port[,IP:port…]`` or ``name:port``.

    Raises:
        ImproperlyConfigured: neither; the message names `CHATWS_RPC_TARGET`.
    """
    parts = [part.strip() for part in setting.split(",") if part.strip()]
    versions = {_ip_version(part) for part in parts}
    if versions == {4}:
        return "ipv4:" + ",".join(parts)
    if versions == {6}:
        return "ipv6:" + ",".join(parts)
    if len(parts) == 1 and versions == {None}:
        host, _, port = parts[0].rpartition(":")
        if host and port.isascii() and port.isdigit() and ":" not in host:
            return f"dns:///{parts[0]}"
    raise ImproperlyConfigured(
        f"CHATWS_RPC_TARGET: {setting!r} is neither IP:port (several of one kind, comma separated) nor one name:port"
    )


def _ip_version(part: str) -> int | None:
    host, _, port = part.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return address.version if port.isascii() and port.isdigit() else None

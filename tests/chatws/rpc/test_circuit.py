"""Calls that aren't answered: when they say that the chat service hangs, and when that one of its instances does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from chatws.conf import ChatConf
from chatws.rpc.circuit import FAILURES
from chatws.rpc.gateway import ChatServiceError
from chatws.rpc.grpc_gateway import GrpcChatGateway
from chatws.rpc.pb import chat_pb2 as pb


class Instance(grpc.GenericRpcHandler):
    """An instance of a chat service that knows one call, and answers it or hangs."""

    def __init__(self) -> None:
        self._server = grpc.aio.server()
        self.hangs = False
        self.asked = 0

    async def start(self) -> str:
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.add_generic_rpc_handlers([self])
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        await self._server.stop(None)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            self._unread,
            request_deserializer=pb.GetUnreadCountReq.FromString,
            response_serializer=pb.GetUnreadCountResp.SerializeToString,
        )

    async def _unread(self, request: pb.GetUnreadCountReq, context: object) -> pb.GetUnreadCountResp:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        return pb.GetUnreadCountResp(unread_count=7)


@pytest.fixture
async def instances() -> AsyncIterator[list[Instance]]:
    both = [Instance(), Instance()]
    yield both
    for one in both:
        await one.stop()


@pytest.fixture
async def gateway(instances: list[Instance]) -> AsyncIterator[GrpcChatGateway]:
    target = ",".join([await one.start() for one in instances])
    gateway = GrpcChatGateway(ChatConf(rpc_target=target, rpc_seconds=1.0))
    while not all(one.asked for one in instances):  # until both are connected to
        await gateway.unread_notifications(1)
    yield gateway
    await gateway.close()


async def unanswered(gateway: GrpcChatGateway, calls: int) -> list[ChatServiceError]:
    answers = await asyncio.gather(*(gateway.unread_notifications(1) for _ in range(calls)), return_exceptions=True)
    return [answer for answer in answers if isinstance(answer, ChatServiceError)]


async def test_one_instance_that_hangs_does_not_close_the_others(
    gateway: GrpcChatGateway, instances: list[Instance]
) -> None:
    instances[0].hangs = True
    waited = await unanswered(gateway, 4 * FAILURES)
    assert len(waited) > FAILURES, "what went to the one that hangs"
    assert all(error.was_asked for error in await unanswered(gateway, 4)), "none failed at once"


async def test_when_all_hang_calls_fail_at_once_until_one_answers(
    gateway: GrpcChatGateway, instances: list[Instance]
) -> None:
    for one in instances:
        one.hangs = True
    assert all(error.was_asked for error in await unanswered(gateway, FAILURES))
    refused = await unanswered(gateway, 4)
    assert [error.was_asked for error in refused] == [False] * 4
    for one in instances:
        one.hangs = False
    while await unanswered(gateway, 1):
        await asyncio.sleep(0.05)
    assert not await unanswered(gateway, 4)

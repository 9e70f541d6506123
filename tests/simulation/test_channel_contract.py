"""The simulated channel retries, fails and recovers as gRPC's own does."""

import asyncio
from typing import Any

import grpc
import pytest

from chatws.chat_service.grpc import GrpcChatGateway
from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import chat_pb2_grpc
from chatws.chat_service.port import ChatServiceError
from chatws.conf import ChatConf
from tests.simulation.chat_service.faults import Fault
from tests.simulation.forking import in_child
from tests.simulation.test_chat_service import world
from tests.support.redis import free_port

SECONDS = 1.5
BEHAVIOURS = {
    "answers": None, "fails": Fault.FAILS, "hangs": Fault.HANGS, "overloaded": Fault.OVERLOADED,
    "unavailable": Fault.UNAVAILABLE,
}  # fmt: skip
STATUSES = {
    "fails": grpc.StatusCode.UNKNOWN, "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
}  # fmt: skip


class Servicer(chat_pb2_grpc.ChatServiceServicer):
    """A chat service that behaves as its name says. ``calls``: how many it has received."""

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour
        self.calls = 0

    async def GetUnreadCount(self, request: Any, context: Any) -> pb.GetUnreadCountResp:  # noqa: N802
        self.calls += 1
        if self.behaviour == "hangs":
            await asyncio.Event().wait()
        if self.behaviour in STATUSES:
            await context.abort(STATUSES[self.behaviour], self.behaviour)
        return pb.GetUnreadCountResp(unread_count=0)


async def outcome(chat: GrpcChatGateway) -> int:
    """Return 200, or the code of the error of a call."""
    try:
        await chat.unread_notifications(1)
    except ChatServiceError as error:
        return error.code
    return 200


async def until_ok(chat: GrpcChatGateway, seconds: float) -> int:
    """Call again and again until the service answers; return 200, or the last code."""
    code, deadline = 0, asyncio.get_running_loop().time() + seconds
    while code != 200 and asyncio.get_running_loop().time() < deadline:
        code = await outcome(chat)
        await asyncio.sleep(0.1)
    return code


async def _started(servicer: Servicer, port: int) -> grpc.aio.Server:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    chat_pb2_grpc.add_ChatServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
async def test_calls_end_and_are_retried_as_with_grpc(behaviour: str) -> None:
    port, servicer = free_port(), Servicer(behaviour)  # type: ignore[abstract]
    server = await _started(servicer, port)
    gateway = GrpcChatGateway(ChatConf(rpc_target=f"127.0.0.1:{port}", rpc_seconds=SECONDS))
    expected = [await outcome(gateway), servicer.calls]
    await gateway.close()
    await server.stop(None)
    assert in_child(lambda: _simulated(behaviour)) == expected


def _simulated(behaviour: str) -> list[int]:
    with world(instances=1) as here:
        [instance] = here.service.instances
        if fault := BEHAVIOURS[behaviour]:
            instance.faults.begin(fault)
        here.chat._seconds = SECONDS
        return [here.run(outcome(here.chat)), instance.calls["GetUnreadCount"]]


async def test_stopped_service_comes_back_as_with_grpc() -> None:
    port, servicer = free_port(), Servicer("hangs")  # type: ignore[abstract]
    server = await _started(servicer, port)
    gateway = GrpcChatGateway(ChatConf(rpc_target=f"127.0.0.1:{port}", rpc_seconds=30.0))

    async def stop() -> None:
        while not servicer.calls:
            await asyncio.sleep(0.01)
        await server.stop(None)

    stopping = asyncio.create_task(stop())
    expected = [await outcome(gateway)]
    await stopping
    servicer.behaviour = "answers"
    server = await _started(servicer, port)
    expected += [await until_ok(gateway, 30.0)]
    await gateway.close()
    await server.stop(None)
    assert in_child(_simulated_stop) == expected == [503, 200]


def _simulated_stop() -> list[int]:
    with world(instances=1) as here:
        [instance] = here.service.instances
        instance.faults.begin(Fault.HANGS)
        here.chat._seconds = 30.0
        here.scheduler.after(1.0, instance.stop)

        async def work() -> list[int]:
            found = [await outcome(here.chat)]
            instance.faults.end()
            instance.start()
            return [*found, await until_ok(here.chat, 30.0)]

        answer: list[int] = here.run(work(), 100)
        return answer

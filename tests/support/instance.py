"""Run an instance of a chat service in this process."""

import asyncio
from typing import Any

import grpc

from chatws.chat_service.pb import chat_pb2 as pb


class Instance(grpc.GenericRpcHandler):
    """A chat service that answers each call for unread notifications with its own number."""

    def __init__(self, number: int, tls: grpc.ServerCredentials | None = None, own: str = "127.0.0.1:0") -> None:
        self.number = number
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.takes_back = False
        """Whether it cancels each call, as a server does that stops without a grace period."""
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers([self])
        port = self._server.add_secure_port(own, tls) if tls else self._server.add_insecure_port(own)
        self.address = f"{own.rpartition(':')[0]}:{port}"

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            self.asked += 1
            await self.answers.wait()
            if self.takes_back:
                await context.abort(grpc.StatusCode.CANCELLED)
            return pb.GetUnreadCountResp(unread_count=self.number).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)

    async def start(self) -> "Instance":
        await self._server.start()
        return self

    async def stop(self, grace: float | None = None) -> None:
        await self._server.stop(grace)

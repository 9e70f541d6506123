"""Serve a chat service without our extension: it forwards `chat.ChatService` and has no other methods."""

from typing import Any

import grpc


class PlainService(grpc.GenericRpcHandler):
    """A server on a port of the loopback; ``asked`` lists the names of the called methods."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target)
        self._server = grpc.aio.server()
        self.asked: list[str] = []

    async def start(self) -> str:
        """Start the server and return its address."""
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.add_generic_rpc_handlers([self])
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        await self._server.stop(None)
        await self._channel.close()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        self.asked.append(details.method.rpartition("/")[2])
        if not details.method.startswith("/chat.ChatService/"):
            return None
        call: Any = self._channel.unary_unary(details.method)

        async def pass_on(request: bytes, context: Any) -> bytes:
            try:
                answer: bytes = await call(request, timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            return answer

        return grpc.unary_unary_rpc_method_handler(pass_on)

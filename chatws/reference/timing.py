"""Measure and trace the reference chat service's calls."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from realtime.observability import metrics, tracing

Handler = Any
"""grpc.RpcMethodHandler; its type stubs lack the attributes."""


class Timing(grpc.aio.ServerInterceptor):
    """Measures and traces every call of the chat service and its extension, but not health checks and reflection."""

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]], details: grpc.HandlerCallDetails
    ) -> Handler:
        handler = await continuation(details)
        service, _, method = details.method.lstrip("/").partition("/")
        if handler is None or service not in ("chat.ChatService", "chat.ext.ReadCursors"):
            return handler
        serve = handler.unary_unary

        async def timed(request: object, context: Any) -> object:
            began = time.perf_counter()
            try:
                with tracing.current.serve(f"{service}/{method}", context.invocation_metadata() or ()):
                    return await serve(request, context)
            finally:
                code = context.code() or grpc.StatusCode.OK
                outcome = code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
                metrics.served_seconds.labels(method, outcome).observe(time.perf_counter() - began)

        return grpc.unary_unary_rpc_method_handler(timed, handler.request_deserializer, handler.response_serializer)

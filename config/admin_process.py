"""The ASGI application of a process that serves only Django's admin (`CHATWS_ADMIN=only`)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.aio import tasks
from realtime.observability import metrics


class AdminProcess:
    """Serves the admin, its static files and the probes. It has no sockets, no presence and no place among the nodes.

    Pages reach the gateways through Redis, as they do on a gateway.
    """

    def __init__(self, http: Any, close: Callable[[], Awaitable[None]]) -> None:
        self._http = http
        self._close = close

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve a scope: HTTP by Django, the process's life by lifespan; reject WebSockets."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        watching: list[asyncio.Task[None]] = [tasks.supervise(metrics.watch_loop, "the loop's lag")]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await tasks.end(watching)
        await self._close()
        await send({"type": "lifespan.shutdown.complete"})

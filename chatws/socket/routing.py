"""Route WebSocket paths to connections."""

import logging
import time
from functools import partial
from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from chatws.services import Services
from chatws.socket.connection import ChatConnection
from realtime.aio.bucket import Bucket
from realtime.connection.consumer import Connection

logger = logging.getLogger(__name__)

LINES_PER_SECOND, BURST = 0.1, 5


def websocket_router(services: Services) -> URLRouter:
    """Return the WebSocket paths, served with these services."""
    chat: Any = Connection.as_asgi(node=services.node, handler=partial(ChatConnection, services))
    anything_else: Any = UnknownPath()  # Django's stubs want a view here; Channels wants an ASGI application
    return URLRouter([path("ws", chat), path("ws/", chat), re_path("", anything_else)])


class UnknownPath:
    """Refuses a handshake with 403 and logs its path: a browser shows its user no reason, not even the status.

    At most `BURST` lines at once and one in ten seconds are written, because anybody can cause them.
    """

    def __init__(self) -> None:
        self._lines = Bucket(LINES_PER_SECOND, BURST)
        self._unwritten = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if self._lines.take(1, time.monotonic()):
            self._unwritten += 1
        else:
            more = f"; {self._unwritten} more before that" if self._unwritten else ""
            logger.warning("a WebSocket was requested at %.200r, but the socket is at /ws%s", scope["path"], more)
            self._unwritten = 0
        await receive()
        await send({"type": "websocket.close"})

"""Route WebSocket paths to connections."""

import logging
from functools import partial
from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from chatws.services import Services
from chatws.socket.connection import ChatConnection
from realtime.connection.consumer import Connection

logger = logging.getLogger(__name__)


def websocket_router(services: Services) -> URLRouter:
    """Return the WebSocket paths, served with these services."""
    chat: Any = Connection.as_asgi(node=services.node, handler=partial(ChatConnection, services))
    anything_else: Any = refuse  # Django's stubs want a view here; Channels wants an ASGI application
    return URLRouter([path("ws", chat), path("ws/", chat), re_path("", anything_else)])


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refuse a handshake with 403 and log its path: a browser shows its user no reason, not even the status."""
    logger.warning("a WebSocket was requested at %.200r, but the socket is at /ws", scope["path"])
    await receive()
    await send({"type": "websocket.close"})

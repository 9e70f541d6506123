"""Route WebSocket paths to connections."""

from functools import partial
from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from chatws.services import Services
from chatws.socket.connection import ChatConnection
from realtime.connection.consumer import Connection


def websocket_router(services: Services) -> URLRouter:
    """Return the WebSocket paths, served with these services."""
    chat: Any = Connection.as_asgi(node=services.node, handler=partial(ChatConnection, services))
    anything_else: Any = refuse  # Django's stubs want a view here; Channels wants an ASGI application
    return URLRouter([path("ws", chat), re_path("", anything_else)])


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refuse the handshake with 403. Without this, Channels logs a traceback for each unknown path."""
    await receive()
    await send({"type": "websocket.close"})

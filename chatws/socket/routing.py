"""Which path opens a socket."""

from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from chatws.services import Services
from chatws.socket.consumer import ChatConsumer


def websocket_router(services: Services) -> URLRouter:
    """The WebSocket paths, served with these services."""
    return URLRouter([path("ws", ChatConsumer.as_asgi(services=services)), re_path("", nowhere)])  # type: ignore[arg-type]  # an ASGI application, as Channels means it


async def nowhere(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refuse the handshake (403): Channels would fail with a traceback for whatever path somebody thinks of."""
    await receive()
    await send({"type": "websocket.close"})

"""Which path opens a socket."""

from channels.routing import URLRouter
from django.urls import path

from chatws.consumers import ChatConsumer
from chatws.services import Services


def websocket_router(services: Services) -> URLRouter:
    """The WebSocket paths, served with these services."""
    return URLRouter([path("ws", ChatConsumer.as_asgi(services=services))])

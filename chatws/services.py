"""What one gateway process offers to its handlers and views; put together in `config/asgi.py`."""

from dataclasses import dataclass

from django.http import HttpRequest

from chatws.chat_service.port import ChatGateway
from chatws.chat_service.users import Names
from chatws.membership.registry import Memberships
from chatws.messaging.group_presence import GroupPresence
from chatws.messaging.sending import Sender
from realtime.node.node import Node


@dataclass(frozen=True, slots=True)
class Services:
    """The process's delivery and its way to the chat service."""

    node: Node
    chat: ChatGateway
    names: Names
    memberships: Memberships
    sender: Sender
    presence: GroupPresence


def of(request: HttpRequest) -> Services:
    """The services of the process that serves this request, from its ASGI scope."""
    services: Services = request.scope["chatws"]  # type: ignore[attr-defined]  # ASGIRequest has it
    return services

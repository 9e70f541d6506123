"""Hold the services of one gateway process for its handlers and views; `config/asgi.py` creates them."""

from dataclasses import dataclass

from django.http import HttpRequest

from chatws.chat_service.port import ChatGateway
from chatws.chat_service.users import Names
from chatws.membership.registry import Memberships
from chatws.messaging.group_presence import GroupPresence
from chatws.messaging.sending import Sender
from realtime.node.node import Node
from realtime.observability.dependencies import Dependencies


@dataclass(frozen=True, slots=True)
class Services:
    """The process's node, its chat service client, and the services that use them."""

    node: Node
    chat: ChatGateway
    names: Names
    memberships: Memberships
    sender: Sender
    presence: GroupPresence
    dependencies: Dependencies


def of(request: HttpRequest) -> Services:
    """Return the services of this process, from the request's ASGI scope."""
    services: Services = request.scope["chatws"]  # type: ignore[attr-defined]  # ASGIRequest has it
    return services

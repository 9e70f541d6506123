"""The composition root: create the parts of one gateway process, and its ASGI application."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

django.setup(set_prefix=False)

# These imports need Django's apps to be ready.
from chatws import conf as chat_conf  # noqa: E402
from chatws.chat_service.grpc import GrpcChatGateway  # noqa: E402
from chatws.chat_service.port import Users  # noqa: E402
from chatws.chat_service.users import Names  # noqa: E402
from chatws.events.routes import MESSAGE_NEW  # noqa: E402
from chatws.membership.registry import Memberships  # noqa: E402
from chatws.messaging.group_presence import GroupPresence  # noqa: E402
from chatws.messaging.message_publisher import MessagePublisher  # noqa: E402
from chatws.messaging.sending import Sender  # noqa: E402
from chatws.services import Services  # noqa: E402
from chatws.socket.routing import websocket_router  # noqa: E402
from chatws.web import body, probes  # noqa: E402
from chatws.web.threads import Handler  # noqa: E402
from config import urls  # noqa: E402
from config.admin_process import AdminProcess  # noqa: E402
from config.prefix import below, with_root  # noqa: E402
from realtime import conf as realtime_conf  # noqa: E402
from realtime.auth.logins import Logins  # noqa: E402
from realtime.connection.handshake import JWTAuthMiddleware  # noqa: E402
from realtime.node.node import Node  # noqa: E402
from realtime.observability import tracing  # noqa: E402
from realtime.observability.dependencies import Check, Dependencies  # noqa: E402
from realtime.publishing.intents import Intents  # noqa: E402
from realtime.redis.client import state_of  # noqa: E402
from realtime.redis.token_bucket import UserLimit  # noqa: E402


def _users() -> Users | None:
    if not chat_conf.get().user_rpc_target:
        return None
    from chatws.chat_service.grpc_users import GrpcUsers  # here: most have no user service

    return GrpcUsers(chat_conf.get())


def _checks() -> dict[str, Check]:
    """Return what this gateway depends on."""
    checks: dict[str, Check] = {"redis": partial(state_of, node.redis, node.conf.redis_url), "chat_rpc": chat.state}
    if names.has_service:
        checks["user_rpc"] = names.state
    if node.conf.jwt_jwks_url:
        checks["jwks"] = node.keys.state
    return checks


tracing.configure("chatws-gateway", on=realtime_conf.get().tracing)
node = Node(realtime_conf.get())
try:
    chat = GrpcChatGateway(chat_conf.get())
    names = Names(node.redis, _users())
except ImproperlyConfigured as _error:
    sys.exit(str(_error))  # one line instead of a traceback, on any server
http_application = body.limited(Handler(chat_conf.get().http_threads), node.conf.max_body_bytes)
logins = Logins(node.redis, chat_conf.get().logins_per_name, chat_conf.get().logins_per_address)
limit = UserLimit(node.redis, "sends", node.conf.sends_per_second, node.conf.burst_seconds)
publisher = None
if chat_conf.get().publishes_messages:
    publisher = MessagePublisher(
        chat, names, Intents(node.redis, MESSAGE_NEW, node.conf.id_seconds, node.conf.redis_replicas)
    )
    node.beside("publishing what was left unpublished", publisher.run)
sender = Sender(chat, publisher, limit)
memberships = Memberships(
    chat, node.hub, chat_conf.get().membership_seconds, max_followed=node.conf.groups_per_connection
)
presence = GroupPresence(chat, node.presence)
dependencies = Dependencies(_checks())
node.beside("watching the dependencies", dependencies.run)
services = Services(
    node=node, chat=chat, names=names, memberships=memberships, sender=sender, presence=presence,
    dependencies=dependencies,
)  # fmt: skip
websocket_application = JWTAuthMiddleware(websocket_router(services), node.authenticate, node.conf)


class Process:
    """Begins and ends the gateway process. It begins with the first scope, because not all servers have lifespan."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._has_begun = False

    async def begin(self) -> None:
        """Start the process's background work, once."""
        if not self._has_begun:
            self._has_begun = True
            self._stack.push_async_callback(tracing.current.stop)
            self._stack.push_async_callback(chat.close)
            self._stack.push_async_callback(names.close)
            await self._stack.enter_async_context(node)
            self._stack.push_async_callback(memberships.stop)

    async def end(self) -> None:
        """End it: memberships, node, names, chat service, tracing, in this order."""
        await self._stack.aclose()


process = Process()


async def serve_http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve a probe here, any other request by Django."""
    scope = {**scope, "chatws": services}
    if scope["path"] in settings.PROBES:
        await probes.serve(scope, send)
        return
    if urls.not_imported(scope["path"]):  # in a thread, so that the event loop goes on
        await asyncio.to_thread(urls.import_for, scope["path"])
    await http_application({**with_root(scope), "logins": logins}, receive, send)


async def gateway(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve a scope: HTTP by Django, WebSockets by `Connection`, the process's beginning and end by lifespan."""
    await process.begin()
    if scope["type"] == "http":
        await serve_http(scope, receive, send)
    elif scope["type"] == "websocket":
        await websocket_application(scope, receive, send)
    elif scope["type"] == "lifespan":
        await receive()
        scope.get("state", {})["drain"] = node.drain  # for a server that drains before it ends the connections
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await process.end()
        await send({"type": "lifespan.shutdown.complete"})


application: Any = below(
    settings.URL_PREFIX, AdminProcess(serve_http, node.redis.aclose) if settings.ADMIN == "only" else gateway
)

"""A gateway process of a world: the real node, hub, sessions and consumers, put together as `config/asgi.py` does."""

from contextlib import AsyncExitStack
from typing import Any

from chatws import conf as chat_conf
from chatws.chat_service.grpc import GrpcChatGateway
from chatws.chat_service.users import Names
from chatws.events.routes import MESSAGE_NEW
from chatws.membership.registry import Memberships
from chatws.messaging.group_presence import GroupPresence
from chatws.messaging.message_publisher import MessagePublisher
from chatws.messaging.sending import Sender
from chatws.services import Services
from chatws.socket.routing import websocket_router
from realtime import conf as realtime_conf
from realtime.connection.handshake import JWTAuthMiddleware
from realtime.layers.redis_pubsub import RedisPubSubLayer
from realtime.node.node import Node
from realtime.observability.dependencies import Dependencies
from realtime.publishing.intents import Intents
from realtime.redis.token_bucket import UserLimit
from tests.simulation.process import Process
from tests.simulation.socket_servers import BUFFER, SocketServer

LAYER_PREFIX = "chatws:layer"


class Gateway:
    """One gateway. ``server`` takes the links of clients; ``frames``: it offers the extension `chatws.frames`.

    ``layer``: the class of its channel layer.
    """

    def __init__(self, process: Process, *, frames: bool, buffer: int = BUFFER, layer: Any = RedisPubSubLayer) -> None:
        self.process = process
        conf, chat = realtime_conf.get(), chat_conf.get()
        with process.inside():
            process.layers["default"] = layer(hosts=[conf.redis_url], prefix=LAYER_PREFIX)
            self.node = node = Node(conf)
            self.chat = GrpcChatGateway(chat)
            names = Names(node.redis, None)
            limit = UserLimit(node.redis, "sends", conf.sends_per_second, conf.burst_seconds)
            publisher = None
            if chat.publishes_messages:
                publisher = MessagePublisher(self.chat, names, Intents(node.redis, MESSAGE_NEW, conf.id_seconds))
                node.beside("publishing what was left unpublished", publisher.run)
            self.sender = Sender(self.chat, publisher, limit)
            self.memberships = Memberships(
                self.chat, node.hub, chat.membership_seconds, max_followed=conf.groups_per_connection
            )
            self.services = Services(
                node=node, chat=self.chat, names=names, memberships=self.memberships, sender=self.sender,
                presence=GroupPresence(self.chat, node.presence), dependencies=Dependencies({}),
            )  # fmt: skip
            application: Any = JWTAuthMiddleware(websocket_router(self.services), node.authenticate, conf)
            self.server = SocketServer(process, application, frames=frames, buffer=buffer)
        self._stack = AsyncExitStack()
        process.start(self._begin(), "the gateway's beginning")

    async def _begin(self) -> None:
        await self._stack.enter_async_context(self.node)
        self._stack.push_async_callback(self.memberships.stop)

    def stop(self) -> None:
        """End it as SIGTERM does: drain, then stop every part; then the process ends."""
        task = self.process.start(self._end(), "the gateway's end")
        task.add_done_callback(lambda _: self.process.scheduler.after(0.0, self.process.kill))

    async def _end(self) -> None:
        await self.node.drain()
        await self._stack.aclose()
        await self.process.layers["default"].flush()

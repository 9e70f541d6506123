"""daphne's server, adapted to this gateway. Only `realtime.server` imports daphne and Twisted."""

import asyncio
import logging
import socket
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from realtime.server import lean_daphne  # noqa: F401  # isort: skip  # before daphne, autobahn and Twisted

from daphne import server as daphne_server
from twisted.internet import defer
from twisted.internet.error import ReactorNotRunning

from realtime import conf
from realtime.addresses import is_in
from realtime.aio import tasks
from realtime.connection.extension import EXTENSION
from realtime.observability import metrics
from realtime.server import supervisor
from realtime.server.compat import find_unsupported, patch_autobahn
from realtime.server.http import Channel, Request
from realtime.server.inbox import Inbox
from realtime.server.memory import return_large_blocks
from realtime.server.sniffer import ProxiedSniffer, Sniffer, is_silent
from realtime.server.transport import reactor
from realtime.server.websocket import FramesProtocol

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5
"""How long a client may take to answer a close frame. If the socket is dropped earlier, it may miss the code."""
CHECK_SECONDS = 2.0
"""How often the time-outs of each connection are checked."""
CHECKED_AT_ONCE = 500
"""How many are checked in one turn of the loop: each takes some microseconds, and one that is idle gets a ping."""
SEND_BUFFER = 65_536
"""SO_SNDBUF of each socket; Linux doubles it. By default the kernel would hold 2.5 MB of a slow client's backlog."""


class Server(daphne_server.Server):  # type: ignore[misc]  # daphne has no types
    """daphne's server with close codes for bad frames (1007, 1009) and with the ASGI lifespan.

    daphne itself drops a connection after a bad frame, and has no lifespan.
    """

    connections: dict[Any, dict[str, Any]]
    offers_frames = True
    """Whether connections get the scope extension."""

    @property
    def ws_factory(self) -> Any:
        """daphne's factory of WebSocket protocols."""
        return self._ws_factory

    @ws_factory.setter
    def ws_factory(self, factory: Any) -> None:
        factory.setProtocolOptions(failByDrop=False, echoCloseCodeReason=True, closeHandshakeTimeout=CLOSE_SECONDS)
        factory.protocol = FramesProtocol
        self._ws_factory = factory

    @property
    def http_factory(self) -> Any:
        """daphne's factory of HTTP connections; every connection begins as HTTP."""
        return self._http_factory

    @http_factory.setter
    def http_factory(self, factory: Any) -> None:
        build_http = factory.buildProtocol

        def http(address: Any) -> Any:
            channel = build_http(address)
            channel.requestFactory = Request  # daphne has set its own
            channel.conf = self._conf
            return channel

        def sniffer(address: Any) -> Sniffer:
            kind = ProxiedSniffer if self._is_balancer(address) else Sniffer
            return kind(partial(self.ws_factory.buildProtocol, address), partial(http, address), self._opened)

        factory.protocol = Channel
        factory.acceptableProtocols = lambda: [b"http/1.1"]  # the limits are not in Twisted's HTTP/2
        factory.buildProtocol = sniffer
        factory.timeOut = self._conf.request_seconds
        self._http_factory = factory

    def _is_balancer(self, address: Any) -> bool:
        """Return whether a peer has to send a PROXY header; one without an address uses a Unix socket."""
        host = getattr(address, "host", "")
        return self._conf.proxy_protocol and (not host or is_in(host, self._conf.trusted_proxies))

    def _opened(self, transport: Any) -> None:
        self._young.append((time.monotonic() + self._conf.request_seconds, weakref.ref(transport)))

    def _drop_silent(self) -> None:
        """Drop connections that have sent nothing in time. The channel has its own times for what arrives slowly."""
        now = time.monotonic()
        while self._young and self._young[0][0] < now:
            transport = self._young.popleft()[1]()
            if transport is not None and transport.connected and is_silent(transport):
                metrics.refusals.labels("request").inc()
                transport.abortConnection()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        return_large_blocks()
        self._conf = conf.get()
        self.waiting_frames, self.waiting_bytes = self._conf.waiting_frames, self._conf.waiting_bytes
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._changed: set[Any] = set()  # connections that were lost, or whose application has ended
        self._young: deque[tuple[float, weakref.ref[Any]]] = deque()  # deadlines of first bytes
        self._ports: list[Any] = []
        self._is_ending = False
        self._started = False
        self._state: dict[str, Any] = {}
        reason = find_unsupported()
        if reason:
            self.offers_frames = False
            logger.warning("frames are sent through ASGI, and slow clients are not limited: %s", reason)
        supervisor.when_supervisor_dies(reactor._asyncioEventloop, self.stop)
        reactor.callLater(0, self._start_application)
        super().run()

    def stop(self) -> None:
        """Begin to shut down, unless that has begun."""
        with suppress(ReactorNotRunning):
            super().stop()

    def listen_success(self, port: Any) -> None:
        """Set the send buffer, which accepted sockets inherit, and the listening socket's backlog."""
        if self.verbosity <= 1:  # with more, Twisted's log is shown
            patch_autobahn(self.ws_factory)
        listening = getattr(port, "socket", None)
        if listening is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            listening.listen(supervisor.ACCEPT_BACKLOG)
        self._ports.append(port)
        super().listen_success(port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Run the application for a connection, unless the process is shutting down."""
        inbox = Inbox()
        if self._is_ending or protocol not in self.connections:
            return inbox
        if self.offers_frames and isinstance(protocol, FramesProtocol):
            scope["extensions"] = {EXTENSION: protocol}
        scope["asgi"] = {"version": "3.0"}
        running = tasks.start(self.application(scope, inbox.get, partial(self.handle_reply, protocol)), "application")
        running.add_done_callback(lambda task: self._changed.add(protocol))
        self.connections[protocol]["application_instance"] = running
        return inbox

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Pass a message of the application to the client; return when an HTTP client has read enough of it."""
        await super().handle_reply(protocol, message)
        channel = getattr(protocol, "channel", None)  # a finished request has none
        if isinstance(channel, Channel):
            await channel.drained()

    def protocol_disconnected(self, protocol: Any) -> None:
        """Note that a connection was lost."""
        super().protocol_disconnected(protocol)
        self._changed.add(protocol)

    def application_checker(self) -> None:
        """Clean up applications and connections that have ended; look only at those, where daphne looks at all."""
        self._drop_silent()
        every = self.connections
        looked_at = {protocol: every[protocol] for protocol in self._changed if protocol in every}
        seen = set(looked_at)
        self.connections = looked_at
        try:
            super().application_checker()
        finally:
            self.connections = every
        for protocol in seen - looked_at.keys():
            del every[protocol]
        self._changed = {protocol for protocol, details in looked_at.items() if details.get("disconnected")}

    def timeout_checker(self) -> None:
        """Check the time-outs of all connections, some at a time over `CHECK_SECONDS`, so that frames come between."""
        everyone = list(self.connections)
        firsts = range(0, len(everyone), CHECKED_AT_ONCE)
        for number, first in enumerate(firsts):
            some = everyone[first : first + CHECKED_AT_ONCE]
            reactor.callLater(number * CHECK_SECONDS / len(firsts), _check_timeouts, some)
        reactor.callLater(CHECK_SECONDS, self.timeout_checker)

    def _start_application(self) -> None:
        self._events.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        self._lifespan = tasks.start(self.application(scope, self._events.get, _ignore), "lifespan")
        self._started = True

    def kill_all_applications(self) -> Any:
        """Drain, then end the remaining connections' applications, then the lifespan; the reactor waits for all.

        daphne's own method fails on a connection with an ended application, and would skip the rest.
        """
        return defer.Deferred.fromFuture(tasks.start(self._end(), "ending"))

    async def _end(self) -> None:
        if "drain" in self._state:
            await self._state["drain"]()
        # A request that is served while the loop ends would keep its thread, and so the process, alive for ever.
        self._is_ending = True
        for port in self._ports:
            port.stopListening()
        running = [details.get("application_instance") for details in self.connections.values()]
        await tasks.end(task for task in running if task is not None and not task.done())
        if self._started:
            self._events.put_nowait({"type": "lifespan.shutdown"})
            await self._lifespan


def _check_timeouts(protocols: Sequence[Any]) -> None:
    for protocol in protocols:
        protocol.check_timeouts()


async def _ignore(message: dict[str, Any]) -> None:
    """Ignore the application's lifespan messages."""

"""daphne's server and command line with options that fit: `python -m realtime.server config.asgi:application`.

With `frames_protocol` the only door to daphne, autobahn and Twisted. Plain `daphne` serves the same application,
without what stands here.
"""

# ruff: noqa: E402
import gc

GARBAGE_THRESHOLDS = 50_000, 20, 50
if __name__ == "__main__":  # what is imported stays: to look through it for garbage was a fifth of a start
    gc.set_threshold(*GARBAGE_THRESHOLDS)

import argparse
import asyncio
import logging
import os
import socket
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from realtime import lean_daphne  # noqa: F401  # isort: skip  # before daphne, autobahn and Twisted

from daphne import server as daphne_server
from daphne.cli import DEFAULT_HOST, DEFAULT_PORT
from daphne.cli import CommandLineInterface as DaphneCommandLine
from daphne.http_protocol import WebRequest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.log import configure_logging
from twisted.internet import defer

from realtime import conf, metrics, tasks, workers
from realtime.doorway import Doorway, has_asked
from realtime.exceptions import RedisUnavailable
from realtime.extension import EXTENSION
from realtime.frames_protocol import FramesProtocol, find_unsupported, lighten, reactor
from realtime.redis import connect, wait_for_redis

logger = logging.getLogger(__name__)

NO_LIMIT = -1
CLOSE_SECONDS = 5
"""How long a client has to answer a close frame: whoever is dropped with data under way never sees its code."""
SEND_BUFFER = 65_536
"""SO_SNDBUF of each socket; Linux doubles it. Left alone, the kernel hides 2.5 MB of a slow reader's backlog."""


class _Request(WebRequest):  # type: ignore[misc]
    """daphne's request, which says when it has come whole."""

    def process(self) -> Any:
        self.channel.has_asked = True
        return super().process()


class Inbox:
    """What a connection's application hasn't read yet: as much of `asyncio.Queue` as daphne uses, in a tenth of it."""

    __slots__ = ("_messages", "_reader")

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._reader: asyncio.Future[None] | None = None

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Add a message, and wake who waits for one."""
        self._messages.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> dict[str, Any]:
        """The next message, once there is one. One reader at a time."""
        while not self._messages:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._messages.pop(0)

    def qsize(self) -> int:
        """How many messages wait."""
        return len(self._messages)


def _time_out(channel: Any, end: Callable[[], None]) -> None:
    """Twisted ends a connection on which nothing came: it counts if no request ever came whole."""
    if not getattr(channel, "has_asked", False):
        metrics.refusals.labels("request").inc()
    end()


class Server(daphne_server.Server):  # type: ignore[misc]  # daphne has no types
    """daphne's server that tells clients why it closes (1007, 1009), and tells the application when it starts and ends.

    daphne drops a connection whose frame is bad; it has no ASGI lifespan.
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
        """daphne's factory of HTTP connections, as which each begins."""
        return self._http_factory

    @http_factory.setter
    def http_factory(self, factory: Any) -> None:
        build_http = factory.buildProtocol

        def http(address: Any) -> Any:
            protocol = build_http(address)
            protocol.requestFactory = _Request
            channel = protocol._channel
            channel.timeoutConnection = partial(_time_out, channel, channel.timeoutConnection)
            return protocol

        def doorway(address: Any) -> Doorway:
            return Doorway(partial(self.ws_factory.buildProtocol, address), partial(http, address), self._opened)

        factory.buildProtocol = doorway
        factory.timeOut = self._request_seconds
        self._http_factory = factory

    def _opened(self, transport: Any) -> None:
        self._young.append((time.monotonic() + self._request_seconds, weakref.ref(transport)))

    def _drop_slow_requests(self) -> None:
        """End connections whose first request hasn't come whole in time, however steadily they drip."""
        now = time.monotonic()
        while self._young and self._young[0][0] < now:
            transport = self._young.popleft()[1]()
            if transport is not None and transport.connected and not has_asked(transport):
                metrics.refusals.labels("request").inc()
                transport.abortConnection()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        settings = conf.get()
        self._request_seconds = settings.request_seconds
        self.waiting_frames = settings.waiting_frames
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._changed: set[Any] = set()  # connections that were lost, or whose application has ended
        self._young: deque[tuple[float, weakref.ref[Any]]] = deque()  # until when a connection has to have asked
        self._ports: list[Any] = []
        self._is_ending = False
        self._started = False
        self._state: dict[str, Any] = {}
        reason = find_unsupported()
        if reason:
            self.offers_frames = False
            logger.warning("frames go the slow way, and slow readers aren't bounded: %s", reason)
        pipe = os.environ.get(workers.PIPE)
        if pipe is not None:  # it is at its end once the supervisor is gone
            reactor._asyncioEventloop.add_reader(int(pipe), self.stop)
        reactor.callLater(0, self._start_application)
        super().run()

    def listen_success(self, port: Any) -> None:
        """Cap what the kernel keeps for a slow reader, which accepted sockets inherit; let many connect at once."""
        if self.verbosity <= 1:  # else Twisted's log is shown
            lighten(self.ws_factory)
        listening = getattr(port, "socket", None)
        if listening is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            listening.listen(workers.ACCEPT_BACKLOG)
        self._ports.append(port)
        super().listen_success(port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Run the application for a connection; once the process ends, nothing more is run."""
        inbox = Inbox()
        if self._is_ending or protocol not in self.connections:
            return inbox
        if self.offers_frames and isinstance(protocol, FramesProtocol):
            scope["extensions"] = {EXTENSION: protocol}
        scope["asgi"] = {"version": "3.0"}
        running = asyncio.ensure_future(self.application(scope, inbox.get, partial(self.handle_reply, protocol)))
        running.add_done_callback(lambda task: self._changed.add(protocol))
        self.connections[protocol]["application_instance"] = running
        return inbox

    def protocol_disconnected(self, protocol: Any) -> None:
        """Note when a connection was lost."""
        super().protocol_disconnected(protocol)
        self._changed.add(protocol)

    def application_checker(self) -> None:
        """Reap the applications and connections that have ended, looking at those alone; daphne's looks at all."""
        self._drop_slow_requests()
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

    def _start_application(self) -> None:
        self._events.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        self._lifespan = asyncio.ensure_future(self.application(scope, self._events.get, _ignore))
        self._started = True

    def kill_all_applications(self) -> Any:
        """Drain, end the applications of connections that are left, then the process's own; the reactor waits for all.

        daphne's own stumbles over a connection whose application has ended, and would leave out what follows.
        """
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        if "drain" in self._state:
            await self._state["drain"]()
        # A request that is being served when the loop ends would keep its thread, and with it the process, for ever.
        self._is_ending = True
        for port in self._ports:
            port.stopListening()
        running = [details.get("application_instance") for details in self.connections.values()]
        await tasks.end(task for task in running if task is not None and not task.done())
        if self._started:
            self._events.put_nowait({"type": "lifespan.shutdown"})
            await self._lifespan


class CommandLine(DaphneCommandLine):  # type: ignore[misc]
    """daphne's command line with this gateway's defaults; every option of daphne is there."""

    description = "The chat gateway: daphne with this project's defaults"
    server_class = Server

    def __init__(self) -> None:
        super().__init__()
        self.parser.prog = "python -m realtime.server"
        self.parser.add_argument(
            "--workers", type=int, default=1, help="how many processes accept on the port; one that dies is replaced"
        )
        self.parser.set_defaults(
            verbosity=0,
            server_name="",
            websocket_timeout=NO_LIMIT,
            websocket_max_message_size=None,
            websocket_max_frame_size=None,
        )

    def run(self, args: Sequence[str]) -> None:
        """Parse, wait for Redis, serve."""
        options = self.parser.parse_args(args)
        if options.workers != 1:
            sys.exit(self._supervise(options, args))
        try:
            self.load_asgi_app(options.application)  # it loads the settings too
        except ImproperlyConfigured as error:
            sys.exit(str(error))
        given = conf.get()
        limit = str(given.max_frame_bytes)
        extra = []
        if options.websocket_max_message_size is None:
            extra += ["--websocket-max-message-size", limit]
        if options.websocket_max_frame_size is None:
            extra += ["--websocket-max-frame-size", limit]
        try:
            asyncio.run(_redis_is_there(given))
        except RedisUnavailable as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
        # Connections make many objects that stay: looking through them for garbage was a quarter of accepting.
        gc.freeze()
        super().run([*extra, *args])

    def _supervise(self, options: argparse.Namespace, args: Sequence[str]) -> int:
        if options.workers < 1:
            self.parser.error("--workers: 1 or more")
        if ":" in (options.host or ""):
            self.parser.error(f"--workers: takes an IPv4 address to --bind, not {options.host}")
        if options.socket_strings or options.unix_socket or options.file_descriptor is not None:
            self.parser.error("--workers: takes --bind and --port, not -e, -u or --fd")
        own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        own.add_argument("--workers")
        own.add_argument("-b", "--bind")
        own.add_argument("-p", "--port")
        _, rest = own.parse_known_args(args)
        port = DEFAULT_PORT if options.port is None else options.port
        with suppress(ImproperlyConfigured):  # the application names its settings itself: plain lines, then
            configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
        with workers.bind(options.host or DEFAULT_HOST, port) as listening:
            command = [sys.executable, "-m", "realtime.server", "--fd", str(listening.fileno()), *rest]
            return workers.supervise(command, options.workers, listening)


async def _redis_is_there(given: conf.RealtimeConf) -> None:
    client = connect(given.redis_url)
    try:
        await wait_for_redis(client, given.redis_url, given.start_timeout)
    finally:
        await client.aclose()


async def _ignore(message: dict[str, Any]) -> None:
    """The application's words about its start and end; there is nothing to do with them."""


if __name__ == "__main__":
    CommandLine.entrypoint()

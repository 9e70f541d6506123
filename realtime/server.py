"""daphne's server and command line with options that fit: `python -m realtime.server config.asgi:application`.

The only door to daphne and Twisted. Plain `daphne` serves the same application, without what stands here.
"""

import argparse
import asyncio
import gc
import logging
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from daphne import server as daphne_server  # installs the asyncio reactor: before anything of Twisted

from autobahn.twisted import websocket as autobahn_twisted  # isort: skip
from autobahn.websocket import protocol as autobahn
from daphne.cli import DEFAULT_HOST, DEFAULT_PORT
from daphne.cli import CommandLineInterface as DaphneCommandLine
from daphne.ws_protocol import WebSocketProtocol
from django.core.exceptions import ImproperlyConfigured
from twisted.internet import defer, tcp
from twisted.internet import reactor as twisted_reactor
from twisted.internet.protocol import Protocol

from realtime import conf, workers
from realtime.exceptions import RedisUnavailable
from realtime.outbox import EXTENSION, Flow
from realtime.redis import connect, wait_for_redis

logger = logging.getLogger(__name__)

NO_LIMIT = -1
SEND_BUFFER = 65_536
"""SO_SNDBUF of each socket; Linux doubles it. Left alone, the kernel hides 2.5 MB of a slow reader's backlog."""
GARBAGE_THRESHOLDS = 50_000, 20, 50
reactor: Any = twisted_reactor  # its declared interface isn't what the type checker takes it for


def backlog(transport: Any) -> int:
    """Bytes given to a TCP transport that it hasn't written yet."""
    size: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    return size


def write_now(transport: Any, data: bytes) -> None:
    """Write to a TCP transport: at once if nothing waits, instead of on the next turn of the loop."""
    if transport.dataBuffer or transport._tempDataLen:
        transport.write(data)
        return
    try:
        sent = transport.socket.send(data)
    except OSError:  # full; or lost, which the transport then finds and reports in its own way
        sent = 0
    if sent < len(data):
        transport.write(data[sent:] if sent else data)


def lighten(factory: Any) -> None:
    """Make each connection cheaper for autobahn; where a release has moved what this touches, nothing changes.

    It would copy thirty options of the factory to each connection, which it doesn't where the class has them, and
    colour and print text for debug lines that nobody reads: a third of what accepting costs.
    """
    for name in getattr(FramesProtocol, "CONFIG_ATTRS", ()):
        value = getattr(factory, name)
        setattr(FramesProtocol, name, staticmethod(value) if callable(value) else value)
    for module in (autobahn, autobahn_twisted):
        for name in ("pformat", "hltype", "hlval"):
            if hasattr(module, name):
                setattr(module, name, _unsaid)


def _unsaid(thing: object) -> str:
    return ""


def find_unsupported() -> str:
    """What this release of Twisted or autobahn does otherwise than `chatws.frames` needs; empty if nothing."""
    for name in ("STATE_OPEN", "_closeConnection", "sendClose"):
        if not hasattr(WebSocketProtocol, name):
            return f"WebSocketProtocol has no {name}"
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    connection: Any = tcp.Connection  # its declared interface fits no real protocol
    transport = connection(ours, Protocol(), reactor)
    transport.connected = 1
    try:
        write_now(transport, b"ready")
        if backlog(transport) or theirs.recv(16) != b"ready":
            return "a write isn't on the wire at once"
        much = bytes(8_000_000)
        write_now(transport, much)
        taken = 0
        try:
            while part := len(theirs.recv(len(much))):
                taken += part
        except BlockingIOError:
            pass
        if not 0 < taken < len(much) or backlog(transport) != len(much) - taken:
            return "the backlog isn't what was not taken"
    except Exception as error:
        return repr(error)
    finally:
        transport.stopWriting()
        ours.close()
        theirs.close()
    return ""


class FramesProtocol(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    """daphne's WebSocket connection, which is also the scope extension `chatws.frames` (`realtime.outbox.Frames`).

    It stands between its transport and whoever writes as a Twisted producer. Over TLS, what is written goes out on the
    next turn of the loop. Where compression was negotiated our frames aren't compressed, which RFC 7692 allows.
    """

    flow: Flow | None = None

    def write(self, wire: bytes) -> None:
        """Send whole frames. Dropped once the closing handshake has begun: nothing may follow a close frame."""
        if self.state == self.STATE_OPEN:
            if isinstance(self.transport, tcp.Connection):
                write_now(self.transport, wire)
            else:
                self.transport.write(wire)

    def backlog(self) -> int:
        """Bytes that the socket hasn't taken yet; over TLS, of those that are encrypted already."""
        below = self.transport
        while not isinstance(below, tcp.Connection):
            below = below.transport
        return backlog(below)

    def close(self, code: int) -> None:
        """Begin the closing handshake; a client that doesn't answer is disconnected a second later."""
        self.sendClose(code=code)

    def onOpen(self) -> None:  # noqa: N802
        self.transport.unregisterProducer()  # that of the HTTP request
        self.transport.registerProducer(self, True)
        super().onOpen()

    def pauseProducing(self) -> None:  # noqa: N802
        """The transport holds more than 64 KiB."""
        if self.flow is not None:
            self.flow.pause_writing()

    def resumeProducing(self) -> None:  # noqa: N802
        """The transport has written all it had."""
        if self.flow is not None:
            self.flow.resume_writing()

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is lost; the application hears of it by ASGI."""

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: N802
        self.transport.unregisterProducer()  # a transport with a producer isn't closed
        super()._closeConnection(abort)


class Server(daphne_server.Server):  # type: ignore[misc]  # daphne has no types
    """daphne's server that tells clients why it closes (1007, 1009), and tells the application when it starts and ends.

    daphne drops a connection whose frame is bad; it has no ASGI lifespan.
    """

    offers_frames = True
    """Whether connections get the scope extension."""

    @property
    def ws_factory(self) -> Any:
        """daphne's factory of WebSocket protocols."""
        return self._ws_factory

    @ws_factory.setter
    def ws_factory(self, factory: Any) -> None:
        factory.setProtocolOptions(failByDrop=False)
        factory.protocol = FramesProtocol
        self._ws_factory = factory

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._started = False
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
        super().listen_success(port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Run the application for a connection."""
        if self.offers_frames and isinstance(protocol, FramesProtocol):
            scope["extensions"] = {EXTENSION: protocol}
        return super().create_application(protocol, scope)

    def _start_application(self) -> None:
        self._events.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._lifespan = asyncio.ensure_future(self.application(scope, self._events.get, _ignore))
        self._started = True

    def kill_all_applications(self) -> Any:
        """End the connections' applications, then the process's own; the reactor waits for both.

        daphne's own stumbles over a connection whose application has ended, and would leave out what follows.
        """
        running = [details.get("application_instance") for details in self.connections.values()]
        tasks = [task for task in running if task is not None and not task.done()]
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end(tasks)))

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
        settings = conf.get()
        limit = str(settings.max_frame_bytes)
        extra = []
        if options.websocket_max_message_size is None:
            extra += ["--websocket-max-message-size", limit]
        if options.websocket_max_frame_size is None:
            extra += ["--websocket-max-frame-size", limit]
        try:
            asyncio.run(_redis_is_there(settings))
        except RedisUnavailable as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit(130)
        # Connections make many objects that stay: looking through them for garbage was a quarter of accepting.
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
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
        with workers.bind(options.host or DEFAULT_HOST, port) as listening:
            command = [sys.executable, "-m", "realtime.server", "--fd", str(listening.fileno()), *rest]
            return workers.supervise(command, options.workers, listening)


async def _redis_is_there(settings: conf.RealtimeConf) -> None:
    client = connect(settings.redis_url)
    try:
        await wait_for_redis(client, settings.redis_url, settings.start_timeout)
    finally:
        await client.aclose()


async def _ignore(message: dict[str, Any]) -> None:
    """The application's words about its start and end; there is nothing to do with them."""


if __name__ == "__main__":
    CommandLine.entrypoint()

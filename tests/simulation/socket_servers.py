"""The WebSocket servers of simulated gateways, and a balancer before them."""

from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from tests.simulation.network import Link, Network
from tests.simulation.process import Process
from tests.simulation.sockets import Socket

CHECK_SECONDS = 2.0
BUFFER = 131_072
Application = Callable[[dict[str, Any], Any, Any], Coroutine[Any, Any, None]]


class SocketServer:
    """The server of one process. ``frames``: it offers the scope extension `chatws.frames`.

    ``ping_interval`` and ``ping_timeout`` are in seconds. ``buffer``: how many bytes the operating systems take that
    the client has not read. More than ``waiting_frames`` unread frames of a client, or ``waiting_bytes``, stop reading.
    A frame from a client of more than ``largest`` bytes closes the connection.
    """

    def __init__(
        self,
        process: Process,
        application: Application,
        *,
        frames: bool = True,
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        buffer: int = BUFFER,
        waiting_frames: int = 64,
        waiting_bytes: int = 262_144,
        largest: int = 65_536,
    ) -> None:
        self.process = process
        self.application = application
        self.frames = frames
        self.ping_interval, self.ping_timeout = ping_interval, ping_timeout
        self.buffer = buffer
        self.waiting_frames, self.waiting_bytes = waiting_frames, waiting_bytes
        self.largest = largest
        self.sockets: dict[Socket, None] = {}
        self._checks = False
        process.at_end.append(self.kill)

    def accept(self, link: Link, source: str) -> "Socket":
        """Take a link, for `Network.listen`."""
        socket = Socket(self, link)
        self.sockets[socket] = None
        if not self._checks:
            self._checks = True
            self._check_later()
        return socket

    def kill(self) -> None:
        """Reset every link: the process was killed. The application learns nothing."""
        for socket in self.sockets:
            socket.link.out.end = None
            socket.link.reset()
        self.sockets.clear()

    def _check_later(self) -> None:
        self.process.loop.call_later(CHECK_SECONDS, self._check, context=Context())

    def _check(self) -> None:
        now = self.process.loop.time()
        for socket in list(self.sockets):
            socket.check(now)
        self._check_later()


class Balancer:
    """Sends each new connection to one of its servers, drawn for each client. Without servers it refuses."""

    def __init__(self, network: Network, host: str, port: int = 443) -> None:
        self._network = network
        self._address = host, port
        self._servers: list[SocketServer] = []

    def add(self, server: SocketServer) -> None:
        """Send new connections to this server as well."""
        self._servers.append(server)
        self._network.listen(*self._address, self._accept)

    def remove(self, server: SocketServer) -> None:
        """Send it no new connection."""
        if server in self._servers:
            self._servers.remove(server)
        if not self._servers:
            self._network.stop_listening(*self._address)

    def _accept(self, link: Link, source: str) -> Socket:
        return self._network.scheduler.draws(f"server of {link.name}").choice(self._servers).accept(link, source)

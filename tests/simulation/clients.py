"""Users' devices: each is a process with the real Python client, on a network that can be slow, silent or away."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from chatws.client.client import ChatClient
from chatws.client.events import Closed, Disconnected, Event, Frame, Refused
from chatws.client.positions import Position
from tests.simulation.client_sockets import ClientProcess, ClientSocket
from tests.simulation.network import Network
from tests.simulation.scheduler import START, Scheduler
from tests.simulation.sockets import Request
from tests.simulation.tokens import token_of

URL = "wss://chat/ws"
TOKEN_SECONDS = 3_600


class Place(Protocol):
    """The end of a feed's log."""

    @property
    def epoch(self) -> str: ...

    @property
    def offset(self) -> int: ...


class Device:
    """A device of a user.

    Args:
        name: The name of its processes, with a number for each start.
        observe: Called with each frame that it receives.
        acked: Called with the id of a stored message, its chat group and the moment at which it was sent first.
        refused: Called with the group and the error of a message that was refused.
        token_seconds: How long its tokens live.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        network: Network,
        name: str,
        user_id: int,
        *,
        url: str = URL,
        observe: Callable[[Frame], None] | None = None,
        acked: Callable[[str, str, float], None] | None = None,
        refused: Callable[[str, Refused], None] | None = None,
        token_seconds: int = TOKEN_SECONDS,
        shuffled: bool = False,
    ) -> None:
        self.name = name
        self.user_id = user_id
        self.scheduler = scheduler
        self.network = network
        self.groups: set[str] = set()
        """The chat groups that it is subscribed to, as the server said."""
        self.closes: list[int] = []
        """The close codes of its connections."""
        self.closed: Closed | None = None
        """How the client has ended, if by itself."""
        self.client: ChatClient | None = None
        self.process: ClientProcess
        self.is_running = False
        self.reads_every = 0.0
        """How long the application takes for each event, in seconds."""
        self._url = url
        self._observe_too = observe
        self._acked = acked
        self._refused = refused
        self._token_seconds = token_seconds
        self._shuffled = shuffled
        self._starts = 0
        self._bytes_per_second = 0.0
        self._network_returns: float = 0.0

    # Life

    def start(self, positions: Mapping[str, Position] | None = None) -> None:
        """Start the client, with the positions of an earlier one or none."""
        self._starts += 1
        number = self._starts
        self.process = ClientProcess(
            self.scheduler, self.network, f"{self.name}.{number}", shuffled=self._shuffled
        )  # fmt: skip
        self.process.bytes_per_second = self._bytes_per_second
        self.process.request = Request(address=f"198.51.{self.user_id % 250}.{number % 250}")
        self.process.is_offline = self.scheduler.now < self._network_returns
        self.groups, self.closed, self.is_running, self.client = set(), None, True, None
        self.process.start(self._run(positions), "the client")

    def restart(self, *, keeps_positions: bool = True) -> None:
        """Kill the client's program and start it again."""
        positions = self.client.positions.all() if keeps_positions and self.client is not None else None
        self.kill()
        self.start(positions)

    def kill(self) -> None:
        """Kill the client's program: its connection is reset."""
        self.is_running = False
        self.process.kill()

    def vanish(self) -> None:
        """Lose battery or network for ever: the server hears nothing, and no end of the connection."""
        self.cut_silently()
        self.kill()

    def close(self) -> None:
        """Close the client as its program does."""
        self.is_running = False
        if self.client is not None:
            self.process.start(self.client.close(), "closing")

    async def _run(self, positions: Mapping[str, Position] | None) -> None:
        client = ChatClient(self._url, self._token, positions=positions, observer=self._observe)
        loop, self.client = self.process.loop, client
        async with client:
            try:
                async for event in client:
                    self._happened(event)
                    if self.reads_every:
                        until = loop.create_future()
                        loop.call_later(self.reads_every, until.set_result, None)
                        await until
            except Closed as error:
                self.closed, self.is_running = error, False

    async def _token(self, *, fresh: bool) -> str:
        now = int(START + self.scheduler.now)
        return token_of(self.user_id, now, now + self._token_seconds)

    @property
    def is_online(self) -> bool:
        """Whether it is connected and authenticated, as far as it knows."""
        return self.is_running and self.client is not None and self.client._connection is not None

    # What it does

    def send(self, group_id: str, content: str) -> None:
        """Send a message; ``acked`` or ``refused`` is called with the outcome."""
        self.process.start(self._send(group_id, content), "sending")

    async def _send(self, group_id: str, content: str) -> None:
        assert self.client is not None, "the device has not started"
        began = time.monotonic()
        try:
            message_id = await self.client.send_message(group_id, content)
        except Refused as error:
            if self._refused is not None:
                self._refused(group_id, error)
        except Closed:
            return
        else:
            if self._acked is not None:
                self._acked(message_id, group_id, began)

    def request(self, kind: str, **data: Any) -> None:
        """Send another frame, such as ``mark_read``; nobody waits for its answer."""
        self.process.start(self._request(kind, data), kind)

    async def _request(self, kind: str, data: Frame) -> None:
        assert self.client is not None, "the device has not started"
        try:
            await self.client.request(kind, data)
        except (Refused, Closed):
            return

    def typing(self, group_id: str, typing: bool = True) -> None:
        """Say that the user types, or no longer does."""
        if self.client is not None:
            self.process.loop.call_soon(self.client.typing, group_id, typing)

    # What happens to it

    @property
    def socket(self) -> ClientSocket | None:
        """Its open connection."""
        socket = self.process.socket
        return socket if socket is not None and socket.close_code is None else None

    def read_slowly(self, bytes_per_second: float) -> None:
        """Limit how fast its network is, from now on; 0: no limit."""
        self._bytes_per_second = self.process.bytes_per_second = bytes_per_second
        if self.socket is not None:
            self.socket.link.back.bytes_per_second = bytes_per_second

    def cut_silently(self) -> None:
        """Lose what its connection carries from now on; neither side notices by itself."""
        if self.socket is not None:
            self.socket.link.cut_silently()

    def reset(self) -> None:
        """Break its connection; both sides notice."""
        if self.socket is not None:
            self.socket.link.reset()

    def flap(self, times: int, seconds: float) -> None:
        """Break its connections again and again."""
        for number in range(times):
            self.scheduler.after(number * seconds, self.reset)

    def lose_network(self, seconds: float) -> None:
        """Be without a network for so long; it notices by silence only, as a phone in a tunnel does."""
        self.cut_silently()
        self.process.is_offline = True
        self._network_returns = max(self._network_returns, self.scheduler.now + seconds)
        self.scheduler.at(self._network_returns, self._network_is_back)

    def _network_is_back(self) -> None:
        if self.scheduler.now >= self._network_returns:
            self.process.is_offline = False

    def sleep(self) -> None:
        """Suspend the device: nothing of it runs, and its connection stays."""
        self.process.pause()

    def wake(self) -> None:
        """Let the device go on; its program asks for a connection at once, as apps do."""
        self.process.go_on()
        if self.client is not None:
            self.process.loop.call_soon(self.client.hurry)

    # What it knows

    def differences(self, groups: set[str], ends: Mapping[str, Place]) -> list[str]:
        """Return how what it believes differs from the user's chat groups and from the ends of the feeds' logs."""
        if not self.is_running:
            return []
        who = f"{self.process.name} of user {self.user_id}"
        if self.client is None or not self.is_online:
            return [f"{who} is not connected"]
        found = [f"{who} is not subscribed to {group}" for group in sorted(groups - self.groups)]
        found += [f"{who} is still subscribed to {group}" for group in sorted(self.groups - groups)]
        for feed in (f"user:{self.user_id}", *(f"group:{group}" for group in sorted(groups & self.groups))):
            own, end = self.client.positions.get(feed), ends.get(feed)
            if end is not None and (own is None or (own.epoch, own.offset) != (end.epoch, end.offset)):
                found.append(f"{who} is at {own} of {feed}, its log ends at {end}")
        return found

    def _observe(self, frame: Frame) -> None:
        if self._observe_too is not None:
            self._observe_too(frame)
        kind, data = frame["type"], frame["data"]
        if kind == "new_message":
            return
        if kind == "auth_success":
            if "feeds" in data:
                self.groups = set(data.get("groups") or ())
        elif kind == "group_joined":
            self.groups.add(data["group_id"])
        elif kind == "group_left" or self._is_own_removal(kind, data):
            self.groups.discard(data["group_id"])

    def _is_own_removal(self, kind: str, data: Frame) -> bool:
        return kind == "group_member" and data["user_id"] == self.user_id and data["change"] == "removed"

    def _happened(self, event: Event) -> None:
        if isinstance(event, Disconnected):
            self.closes.append(event.code)

"""A user's device: a process of its own, on a network that can be slow, silent or away. Its client is a subclass's."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from chatws.client.events import Frame, Refused
from tests.simulation.client_sockets import ClientProcess, ClientSocket
from tests.simulation.network import Network
from tests.simulation.scheduler import START, Scheduler
from tests.simulation.sockets import Request
from tests.simulation.tokens import token_of

URL = "wss://chat/ws"
TOKEN_SECONDS = 3_600


class Place(Protocol):
    """A position in a feed, such as the end of its log."""

    @property
    def epoch(self) -> str: ...

    @property
    def offset(self) -> int: ...


class BaseDevice:
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
        self.process: ClientProcess
        self.is_running = False
        self._url = url
        self._observe_too = observe
        self._acked = acked
        self._refused = refused
        self._token_seconds = token_seconds
        self._shuffled = shuffled
        self._starts = 0
        self._bytes_per_second = 0.0
        self._network_returns: float = 0.0

    # What a client adds

    @property
    def is_online(self) -> bool:
        """Whether it is connected and authenticated, as far as it knows."""
        raise NotImplementedError

    def position(self, feed: str) -> Place | None:
        """Return the position of the last publication that it has of a feed."""
        raise NotImplementedError

    # Life

    def run(self, client: Coroutine[Any, Any, None]) -> None:
        """Start a process with this client."""
        self._starts += 1
        self.process = ClientProcess(
            self.scheduler, self.network, f"{self.name}.{self._starts}", shuffled=self._shuffled
        )
        self.process.bytes_per_second = self._bytes_per_second
        self.process.request = Request(address=f"198.51.{self.user_id % 250}.{self._starts % 250}")
        self.process.is_offline = self.scheduler.now < self._network_returns
        self.groups, self.is_running = set(), True
        self.process.start(client, "the client")

    def kill(self) -> None:
        """Kill the client's program: its connection is reset."""
        self.is_running = False
        self.process.kill()

    def vanish(self) -> None:
        """Lose battery or network for ever: the server hears nothing, and no end of the connection."""
        self.cut_silently()
        self.kill()

    def token(self) -> str:
        """Return a new token."""
        now = int(START + self.scheduler.now)
        return token_of(self.user_id, now, now + self._token_seconds)

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
        """Let the device go on."""
        self.process.go_on()

    # What it knows

    def differences(self, groups: set[str], ends: Mapping[str, Place]) -> list[str]:
        """Return how what it believes differs from the user's chat groups and from the ends of the feeds' logs."""
        if not self.is_running:
            return []
        who = f"{self.process.name} of user {self.user_id}"
        if not self.is_online:
            return [f"{who} is not connected"]
        found = [f"{who} is not subscribed to {group}" for group in sorted(groups - self.groups)]
        found += [f"{who} is still subscribed to {group}" for group in sorted(self.groups - groups)]
        for feed in (f"user:{self.user_id}", *(f"group:{group}" for group in sorted(groups & self.groups))):
            own, end = self.position(feed), ends.get(feed)
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
        elif kind == "group_left":
            self.groups.discard(data["group_id"])

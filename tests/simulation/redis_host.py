"""The machine that Redis runs on: it listens, and it can crash, restart, pause, refuse, and go back in time."""

from math import inf
from typing import Any

from tests.simulation.network import Link, Network
from tests.simulation.redis.model import Model
from tests.simulation.redis.server import Server
from tests.simulation.scheduler import START, Event, Scheduler

HOST, PORT = "redis", 6379
URL = f"redis://{HOST}:{PORT}/0"
SECOND = 1.0
LAG = 2 * SECOND
"""How far Redis may go back."""


class RedisHost:
    """Redis on the network. ``everysec``: a crash loses the writes of up to a second."""

    def __init__(self, scheduler: Scheduler, network: Network, *, everysec: bool = False) -> None:
        self.scheduler = scheduler
        self.network = network
        self.wall_offset = 0.0
        self.model = Model(scheduler.draws("Redis"))
        self.server = Server(self.model, self.wall)
        self.is_up = False
        self._everysec = everysec
        self._saved: list[tuple[float, Any]] = []
        """Snapshots of the last seconds, oldest first."""
        self._went_back = -inf
        self._next_save: Event | None = None
        self._tick: Event | None = None
        self.start()

    def wall(self) -> float:
        return START + self.scheduler.now + self.wall_offset

    def start(self) -> None:
        """Begin to listen."""
        if not self.is_up:
            self.is_up = True
            self.network.listen(HOST, PORT, self._accept)
            self._save()

    def crash(self) -> bool:
        """End at once; return whether acknowledged writes are lost. The next `start` has what was saved."""
        self.is_up = False
        self.network.stop_listening(HOST, PORT)
        snapshot = self._saved[0][1] if self._everysec and self._is_ahead else None
        self._restore(snapshot)
        for link in self.network.to(HOST):
            link.reset()
        return snapshot is not None

    @property
    def can_go_back(self) -> bool:
        """Whether there is something newer than what it would go back to."""
        return self.is_up and self._is_ahead

    @property
    def _is_ahead(self) -> bool:
        """Whether something was written since it last went back: it does not go back to one state for ever."""
        return len(self._saved) > 1 and self.scheduler.now - self._went_back > LAG

    def go_back(self, *, keeps_subscriptions: bool = False) -> None:
        """Be what was saved up to two seconds ago: a replica that lagged has taken over. All connections end.

        ``keeps_subscriptions``: those with subscriptions don't, as behind a proxy.
        """
        if keeps_subscriptions:
            self.server.kill_clients("normal")
            self.model.restore(self._saved[0][1])
            self._saved = [(self.scheduler.now, self._saved[0][1])]
            return
        self._restore(self._saved[0][1])
        for link in self.network.to(HOST):
            link.reset()

    def subscriptions_of(self, process: str) -> list[Link]:
        """Return the links of a process on which it has subscribed."""
        return [link for link in self._links_of(process) if _has_subscribed(link)]

    def commands_of(self, process: str) -> list[Link]:
        """Return the links of a process for its commands."""
        return [link for link in self._links_of(process) if not _has_subscribed(link)]

    def _links_of(self, process: str) -> list[Link]:
        return [link for link in self.network.to(HOST) if link in self.network.of(process)]

    def _restore(self, snapshot: Any) -> None:
        self.server.crash(snapshot)
        if snapshot is not None:
            self._saved = [(self.scheduler.now, snapshot)]
            self._went_back = self.scheduler.now

    def subscriber_links(self, source: str) -> list[Link]:
        """Return the links over which a process has subscribed to something."""
        links = [link for link in self.network.of(source) if isinstance(link.out.end, _Client)]
        return [link for link in links if link.out.end.is_subscriber]  # type: ignore[union-attr]

    def command(self, *words: str | bytes) -> Any:
        """Run a command from outside, as an operator does, and return its reply."""
        reply = self.server.run([word.encode() if isinstance(word, str) else word for word in words])
        self._wake()
        return reply

    def _accept(self, link: Link, source: str) -> "_Client":
        return _Client(self, link)

    def _save(self) -> None:
        if not self.is_up:
            return
        self._saved = [*self._saved[-1:], (self.scheduler.now, self.model.snapshot())]
        if self._next_save is not None:
            self._next_save.cancel()
        self._next_save = self.scheduler.after(SECOND, self._save)

    def received(self, connection: Any, data: bytes) -> None:
        self.model.now = self.wall()
        connection.received(data)
        self._wake()

    def _wake(self) -> None:
        """Answer blocked readers when their time is over."""
        deadline = self.server.next_deadline()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if deadline is not None:
            self._tick = self.scheduler.at(deadline - START - self.wall_offset, self._due)

    def _due(self) -> None:
        self.model.now = self.wall()
        self.server.tick(self.model.now)
        self._tick = None
        self._wake()


def _has_subscribed(link: Link) -> bool:
    return isinstance(link.out.end, _Client) and link.out.end.is_subscriber


class _Client:
    """Redis's end of a link."""

    def __init__(self, host: RedisHost, link: Link) -> None:
        self._host = host
        self._connection = host.server.connect(
            lambda data: link.back.send(data, len(data)), lambda: link.close_from(link.back)
        )

    @property
    def is_subscriber(self) -> bool:
        return bool(self._connection.session.channels)

    def received(self, data: bytes) -> None:
        self._host.received(self._connection, data)

    def lost(self, error: Exception | None) -> None:
        self._connection.lost()

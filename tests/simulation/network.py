"""The network of a world: links between processes, with latency, splits, cuts, silence, stalls and slow readers."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tests.simulation.scheduler import Scheduler

CONNECT_REFUSED = "the connection was refused"


@dataclass
class Weather:
    """How a network behaves: one-way latency in seconds (most take ``latency``, some up to ``longest``), and how often
    what is written arrives in several parts."""

    latency: float = 0.0005
    longest: float = 0.005
    slow_share: float = 0.1
    split_share: float = 0.1


class End(Protocol):
    """What sits at one end of a link."""

    def received(self, data: Any) -> None:
        """Take what the other end sent."""

    def lost(self, error: Exception | None) -> None:
        """The link has ended: by the other end's close (None) or by a reset."""


class Pipe:
    """One direction of a link: what is sent arrives in order, later, perhaps in parts, or not at all."""

    __slots__ = (
        "_draws", "_ended", "_is_held", "_last", "_name", "_scheduler", "_waiting", "_weather", "bytes_per_second",
        "delay", "drops", "end", "in_flight", "is_silent",
    )  # fmt: skip

    def __init__(self, scheduler: Scheduler, weather: Weather, name: str) -> None:
        self._scheduler = scheduler
        self._weather = weather
        self._name = name
        self._draws = scheduler.draws(name)
        self._last = 0.0
        self._waiting: deque[tuple[Any, int]] = deque()
        self._is_held = False
        self._ended = False
        self.end: End | None = None
        self.in_flight = 0
        """Bytes that were sent and have not arrived."""
        self.is_silent = False
        """Whether what is sent is lost without a word."""
        self.drops = False
        """Whether what is sent is lost, but the end of the connection is not."""
        self.bytes_per_second = 0.0
        """How fast the other end reads; 0: at once."""
        self.delay = 0.0
        """Seconds that it takes longer than the weather says."""

    def send(self, data: Any, size: int) -> None:
        """Send bytes, or a message of so many bytes."""
        if self._ended:
            return
        for part, length in self._parts(data, size):
            self.in_flight += length
            self._last = self._arrival(length)
            self._scheduler.at(self._last, self._arrive, part, length)

    def finish(self, error: Exception | None) -> None:
        """End the direction behind what was sent; at once, and without it, by a reset."""
        if self._ended:
            return
        self._ended = True
        at = self._arrival(0) if error is None else self._scheduler.now + self._latency()
        self._scheduler.at(at, self._finished, error)

    def break_now(self, error: Exception) -> None:
        """End the direction, whatever was lost or held back before: its end learns of it."""
        self._ended, self.is_silent, self._is_held = True, False, False
        self._waiting.clear()
        self._scheduler.after(0.0, self._lose, error)

    def hold(self) -> None:
        """Keep back what arrives from now on, until `release`."""
        self._is_held = True

    def release(self) -> None:
        """Deliver what was kept back."""
        self._is_held = False
        while self._waiting and not self._is_held:
            self._deliver(*self._waiting.popleft())

    def lose(self, choose: Callable[[list[Any]], Any]) -> int:
        """Lose one of the items that are kept back, the one that is chosen of them; return its size, or 0."""
        item = choose([item for item, _ in self._waiting])
        for held in self._waiting:
            if item is not None and held[0] is item:
                self._waiting.remove(held)
                self.in_flight -= held[1]
                return held[1]
        return 0

    def _arrival(self, length: int) -> float:
        at = max(self._scheduler.now + self._latency(), self._last)
        return at + length / self.bytes_per_second if self.bytes_per_second else at

    def _latency(self) -> float:
        weather, drawn = self._weather, self._draws.random()
        if drawn < weather.slow_share:
            return self.delay + weather.latency + drawn / weather.slow_share * (weather.longest - weather.latency)
        return self.delay + weather.latency

    def _parts(self, data: Any, size: int) -> Iterable[tuple[Any, int]]:
        if isinstance(data, bytes) and size > 1 and self._draws.random() < self._weather.split_share:
            at = self._draws.randrange(1, size)
            return [(data[:at], at), (data[at:], size - at)]
        return [(data, size)]

    def _arrive(self, data: Any, size: int) -> None:
        if self._is_held or self._waiting:
            self._waiting.append((data, size))
        else:
            self._deliver(data, size)

    def _deliver(self, data: Any, size: int) -> None:
        if isinstance(data, _End):
            self._lose(data.error)
            return
        self.in_flight -= size
        if self.end is not None and not self.is_silent and not self.drops:
            self._scheduler.record(self._name, data)
            self.end.received(data)

    def _finished(self, error: Exception | None) -> None:
        if self._is_held or self._waiting:
            self._waiting.append((_End(error), 0))
            return
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        if self.is_silent:
            return
        end, self.end = self.end, None
        if end is not None:
            end.lost(error)


class _End:
    """The end of a direction, among what is kept back."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class Link:
    """A connection between a process and what it connected to: ``out`` leads there, ``back`` comes from there."""

    def __init__(self, name: str, out: Pipe, back: Pipe) -> None:
        self.name = name
        self.out = out
        self.back = back
        self.is_open = True
        self.on_end: Callable[[Link], None] = _nothing

    def reset(self) -> None:
        """Break the connection: both ends learn of it."""
        for pipe in (self.out, self.back):
            pipe.finish(ConnectionResetError("Connection reset by peer"))
        self._ended()

    def cut_silently(self) -> None:
        """Lose everything from now on, without a word to either end."""
        self.out.is_silent = self.back.is_silent = True

    def find_dead(self) -> None:
        """End a silent connection as the keepalive of the operating system does: both ends learn of it."""
        for pipe in (self.out, self.back):
            pipe.break_now(ConnectionResetError("Connection timed out"))
        self._ended()

    def stall(self) -> None:
        """Keep back everything until `go_on`."""
        self.out.hold()
        self.back.hold()

    def go_on(self) -> None:
        """Deliver what was kept back."""
        self.out.release()
        self.back.release()

    def close_from(self, pipe: Pipe) -> None:
        """Close one direction behind what was sent; the other ends as well."""
        pipe.finish(None)
        other = self.back if pipe is self.out else self.out
        other.end = None
        self._ended()

    def _ended(self) -> None:
        if self.is_open:
            self.is_open = False
            self.on_end(self)


def _nothing(link: Link) -> None:
    return


Accept = Callable[[Link, str], End]
"""Called with a new link and the name of the process that connected; returns what sits at its far end."""


class Network:
    """Who listens where, and all links. ``weather`` is that of all links, also of open ones."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.weather = Weather()
        self.links: dict[Link, None] = {}
        self._listeners: dict[tuple[str, int], Accept] = {}
        self._counts: dict[str, int] = {}
        self.unreachable: set[str] = set()
        """Hosts whose packets vanish: connecting never ends."""

    def listen(self, host: str, port: int, accept: Accept) -> None:
        """Accept connections at an address."""
        self._listeners[host, port] = accept

    def stop_listening(self, host: str, port: int) -> None:
        """Refuse connections at an address."""
        self._listeners.pop((host, port), None)

    def link(self, source: str, target: str, weather: Weather | None = None) -> Link:
        """Return a new link between two names; what sits at its ends is the caller's to set."""
        count = self._counts[source] = self._counts.get(source, 0) + 1
        name = f"{source}#{count}>{target}"
        out, back = (
            Pipe(self.scheduler, weather or self.weather, f"{name}:{direction}") for direction in ("out", "back")
        )
        link = Link(name, out, back)
        link.on_end = self._forget
        self.links[link] = None
        return link

    async def connect(self, source: str, host: str, port: int, near: Callable[[Link], End]) -> Link:
        """Connect to an address; raise ConnectionRefusedError if nobody listens there."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(2 * self.weather.latency)
        if host in self.unreachable:
            await loop.create_future()
        accept = self._listeners.get((host, port))
        if accept is None:
            raise ConnectionRefusedError(111, f"{CONNECT_REFUSED}: {host}:{port}")
        link = self.link(source, f"{host}:{port}")
        link.back.end = near(link)
        link.out.end = accept(link, source)
        return link

    def of(self, source: str) -> list[Link]:
        """Return the open links that a process opened."""
        return [link for link in self.links if link.name.partition("#")[0] == source]

    def to(self, host: str) -> list[Link]:
        """Return the open links to a host."""
        return [link for link in self.links if link.name.partition(">")[2].partition(":")[0] == host]

    def _forget(self, link: Link) -> None:
        self.links.pop(link, None)

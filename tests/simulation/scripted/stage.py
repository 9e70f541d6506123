"""The world of a history: its processes, its clock, and what breaks between them and Redis."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from django.conf import settings

from realtime.redis import keys
from tests.simulation import client_sockets
from tests.simulation.chat_service import channel
from tests.simulation.gateway import Gateway
from tests.simulation.network import Link
from tests.simulation.plan import Plan, Shape
from tests.simulation.process import Process
from tests.simulation.redis.faults import READONLY
from tests.simulation.redis.session import Session
from tests.simulation.redis.table import Command
from tests.simulation.redis_host import HOST
from tests.simulation.seams import installed
from tests.simulation.world import Slot, World
from tests.support.ledger import Cause, Kind

PATIENCE = 4.0
"""Seconds in which what a history waits for has to happen, unless it says otherwise."""
DEFAULTS = {"linger_seconds": 2.0, "presence_lease": 9.0}
"""Settings of delivery that would make histories long."""


class Stage:
    """A small world. What breaks breaks at once; the clock runs in `wait` and `until` only.

    Args:
        shuffled: Ready callbacks of different tasks run in a drawn order.
        platform: The chat service behaves as the Go platform's, and the gateways publish.
        frames: The gateways' servers offer `chatws.frames`.
        buffer: How many bytes the operating systems take that a client has not read.
        realtime, chat: Settings that differ from the defaults.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        shuffled: bool = False,
        gateways: int = 1,
        relays: int = 1,
        platform: bool = False,
        frames: bool = True,
        buffer: int = 131_072,
        realtime: dict[str, Any] | None = None,
        chat: dict[str, Any] | None = None,
    ) -> None:
        shape = Shape(
            gateways=gateways, relays=relays, users=0, groups=0, platform=platform, frames=frames, shuffled=shuffled
        )  # fmt: skip
        self.world = World(Plan(seed, shape, (), ()))
        settings.REALTIME = replace(settings.REALTIME, **{**DEFAULTS, **(realtime or {})})
        settings.CHATWS = replace(settings.CHATWS, **chat or {})
        self.redis = self.world.redis
        self.chat = self.world.chat
        self.relays = self.world.relays
        self._buffer = buffer
        self._stalled: set[str] = set()
        self._stack = ExitStack()

    def begin(self) -> None:
        """Start every process."""
        world = self.world
        world.log.install()
        for one in (channel.installed(), client_sockets.installed(), installed(world.scheduler)):
            self._stack.enter_context(one)
        sound = world.network.link

        def link(source: str, target: str, *options: Any) -> Link:
            made = sound(source, target, *options)
            if source in self._stalled and target.startswith(HOST):
                made.stall()
            return made

        vars(world.network)["link"] = link
        self.chat.start()
        for number in range(len(world.gateways)):
            self.start_gateway(number)
        for slot in world.relays:
            slot.start()
        self.wait(0.5)

    def start_gateway(self, number: int) -> None:
        """Start a gateway, to which people connect by its number."""
        slot = self.world.gateways[number]
        slot.start()
        slot.running.server.buffer = self._buffer
        self.world.network.listen(f"gateway-{number}", 443, slot.running.server.accept)

    def kill_gateway(self, number: int) -> None:
        """End a gateway at once."""
        self.world.network.stop_listening(f"gateway-{number}", 443)
        self.world.gateways[number].kill()

    # Time

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.world.scheduler.now

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.world.scheduler.run(self.now + seconds)

    def until(self, condition: Callable[[], Any], within: float = PATIENCE) -> None:
        """Let time pass up to the first moment at which a condition holds; it has to within so many seconds."""
        scheduler, end = self.world.scheduler, self.now + within
        scheduler.run(self.now)
        while not condition():
            events = scheduler._events
            if not events or events[0][0] > end:
                scheduler.run(end)
                raise AssertionError(f"not within {within:g} s: {_words(condition)}")
            scheduler.run(events[0][0])

    # Processes

    def gateway(self, number: int = 0) -> Gateway:
        """Return a gateway that runs."""
        running: Gateway = self.world.gateways[number].running
        return running

    def holder(self, topic: str) -> Slot:
        """Return the relay that holds a topic."""
        name = self.redis.command("GET", keys.lease(topic)).decode().rpartition("-")[0]
        [slot] = [slot for slot in self.world.relays if slot.running and slot.running.process.name == name]
        return slot

    # What breaks

    def fault(self, name: str = "a fault", **kind: Any) -> AbstractContextManager[Cause]:
        """Tell the oracle that something breaks inside of the block; ``kind`` says what it may do (`Kind`)."""
        return self.world.ledger.fault(Kind(name, **kind))

    def redis_links(self, process: Process) -> list[Link]:
        """Return the connections of a process to Redis."""
        return [link for link in self.world.network.of(process.name) if f">{HOST}:" in link.name]

    def subscription(self, number: int = 0) -> Link:
        """Return the connection on which a gateway is subscribed."""
        gateway = self.gateway(number)
        [layer] = gateway.process.layers["default"]._layers.values()
        link: Link = layer._shards[0]._connection._writer.transport._link
        return link

    def is_subscribed_anew(self, before: Link | None, number: int = 0) -> bool:
        """Return whether a gateway's layer has a connection on which it subscribes, and not the one before."""
        [layer] = self.gateway(number).process.layers["default"]._layers.values()
        return layer._shards[0]._connection is not None and self.subscription(number) is not before

    def take_over(self) -> None:
        """Let a replica take over: the connections that are open now lead to the former master, and stay."""
        former = {connection.session.id for connection in self.redis.server._connections.values()}

        def refusal(session: Session, command: Command, words: Sequence[bytes]) -> str:
            writes = command.writes or command.name == "evalsha"
            return READONLY if writes and session.id in former else ""

        self.redis.model.refusal = refusal

    @contextmanager
    def stalled(self, process: Process, *, hears: bool = False) -> Iterator[None]:
        """Let nothing pass between a process and Redis in either direction inside of the block; then all of it.

        ``hears``: a gateway still receives what it is subscribed to.
        """
        kept = {id(self.subscription(number)) for number in range(len(self.world.gateways))} if hears else set()
        self._stalled.add(process.name)
        for link in self.redis_links(process):
            if id(link) not in kept:
                link.stall()
        try:
            yield
        finally:
            self._stalled.discard(process.name)
            for link in self.redis_links(process):
                link.go_on()

    @contextmanager
    def held(self, relay: Slot) -> Iterator[None]:
        """Pause a relay inside of the block, while the commands that it has sent are still on their way to Redis."""
        links = self.redis_links(relay.running.process)
        for link in links:
            link.out.hold()
        self.world.scheduler.after(0.05, relay.pause)
        try:
            yield
        finally:
            for link in links:
                link.out.release()
            relay.go_on()

    def flush(self) -> None:
        """Let Redis lose everything."""
        with self.fault("FLUSHALL", loses=True, forgets=True, budget=12.0):
            self.redis.command("FLUSHALL")
            self.wait(0.05)  # what was on its way arrives


def _words(condition: Callable[[], Any]) -> str:
    """Return the source of a condition."""
    if isinstance(condition, partial):
        return f"{condition.func.__name__}{condition.args}"
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)

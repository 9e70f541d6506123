"""One gateway process: its name, its Redis, hub, presence and audit, started and stopped as one.

Built in `config/asgi.py`; started by the server's lifespan or by the first socket.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from channels.layers import get_channel_layer

from realtime.aio import tasks
from realtime.audit.recorder import Audit
from realtime.auth import tokens
from realtime.auth.keys import Keys
from realtime.auth.principal import Principal
from realtime.auth.revocations import Revocations
from realtime.close_codes import CloseCode
from realtime.conf import RealtimeConf
from realtime.exceptions import TransientError
from realtime.feeds.log import FeedLog
from realtime.hub.hub import Hub
from realtime.ids import new_node_name
from realtime.node.admission import Admission, resident_memory
from realtime.observability import metrics
from realtime.presence.presence import Presence
from realtime.presence.terminations import Terminations
from realtime.redis.client import connect

logger = logging.getLogger(__name__)

DRAIN_STEP = 0.1
MEASURE_SECONDS = 0.5
SLOW_SECONDS = 1.0
"""A frame that is served for that long, or twice that, is slow."""
_random = random.SystemRandom()
KICK_SECONDS = 1.0
"""How often wishes to end connections, and revocations, are read without a hint."""


class LiveConnection(Protocol):
    """A live connection, as the node knows it."""

    def close(self, code: int) -> None: ...

    def send_away(self, retry_after: int) -> None: ...

    def recheck(self) -> None: ...


class Serving(Protocol):
    """A connection that serves a frame, the ``frames_in``th that it got."""

    frames_in: int

    def read_ahead(self) -> None: ...


class Node:
    """A gateway process. ``connections`` holds every live socket by its connection id."""

    def __init__(self, conf: RealtimeConf) -> None:
        layer = get_channel_layer()
        self.name = new_node_name()
        self.conf = conf
        self.redis = connect(conf.redis_url)
        self.hub = Hub(layer, FeedLog(self.redis, conf), conf)
        self.terminations = Terminations(self.redis, layer)
        self.keys = Keys(conf)
        self.revocations = Revocations(self.redis, layer, conf.revocation_days)
        self.presence = Presence(self.redis, self.name, conf, on_excess=self._end_oldest)
        self.audit = Audit(self.redis, self.name, conf)
        self.admission = Admission(conf)
        self.connections: dict[str, LiveConnection] = {}
        self.serving: set[Serving] = set()
        """Those of them that serve a frame now."""
        self.users: Counter[int] = Counter()
        """How many live sockets each authenticated user has here."""
        self.empty = asyncio.Event()
        """Set when the last connection is gone."""
        self.draining = False
        """Whether connections are being sent away, and no new ones let in."""
        self._kick_hint = asyncio.Event()
        self._beside: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def beside(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have this run in the background too, from the start on."""
        self._beside.append((name, work))

    def start(self) -> None:
        """Start what runs in the background; once, further calls do nothing."""
        if self._tasks:
            return
        self.hub.on_control = lambda message: self._kick_hint.set()
        self.hub.start()
        self._tasks = [
            tasks.supervise(self.presence.run, "presence"),
            tasks.supervise(self.audit.run, "audit"),
            tasks.supervise(self._end_unwanted, "ending connections"),
            tasks.supervise(self.keys.run, "fetching keys"),
            tasks.supervise(self._measure, "measuring"),
            tasks.supervise(self._find_slow, "finding slow frames"),
            tasks.supervise(metrics.watch_loop, "the loop's lag"),
            *(tasks.supervise(work, name) for name, work in self._beside),
        ]
        logger.info("gateway %s is up", self.name)

    async def authenticate(self, token: str) -> Principal:
        """The principal of a token that counts.

        Raises:
            AuthenticationError: it doesn't.
            TransientError: nobody knows, since the keys or the revocations can't be had.
        """
        self.start()
        principal = await tokens.resolve(token, self.keys)
        await self.revocations.check(principal)
        return principal

    async def _measure(self) -> None:
        """Keep the gauges, and look at our memory."""
        while True:
            metrics.connections.set(len(self.connections))
            metrics.users.set(len(self.users))
            self.admission.memory = resident_memory()
            await asyncio.sleep(MEASURE_SECONDS)

    async def _find_slow(self) -> None:
        """Have connections whose frame has been served for a while read ahead."""
        before: dict[Serving, int] = {}
        while True:
            await asyncio.sleep(SLOW_SECONDS)
            now = {connection: connection.frames_in for connection in self.serving}
            for connection, number in now.items():
                if before.get(connection) == number:
                    connection.read_ahead()
            before = now

    @property
    def state(self) -> str:
        """``ok``, or why no connection is let in."""
        if self.draining:
            return "draining"
        return (
            "ok" if self.revocations.are_known else "the revoked tokens can't be had yet (from Redis or the database)"
        )

    async def drain(self) -> None:
        """Send the connections away, some at a time, each with another time to come back; then return.

        `/ready` fails and no connection is let in from now on. Takes ``drain_delay`` and ``drain_seconds`` at most.
        """
        conf = self.conf
        self.draining = True
        await asyncio.sleep(conf.drain_delay)
        if not self.connections:
            return
        self.empty.clear()
        deadline = asyncio.get_running_loop().time() + conf.drain_seconds
        leaving = list(self.connections.values())
        _random.shuffle(leaving)
        each = max(conf.drain_per_second, len(leaving) / max(conf.drain_seconds - 1, 1)) * DRAIN_STEP
        logger.info("draining: %d connections are sent away", len(leaving))
        sent = 0.0
        while leaving:
            sent += each
            for connection in [leaving.pop() for _ in range(min(max(int(sent), 1), len(leaving)))]:
                connection.send_away(_random.randint(1, conf.drain_retry_seconds))
            sent %= 1
            await asyncio.sleep(DRAIN_STEP if leaving else 0)
        try:
            async with asyncio.timeout_at(deadline):
                await self.empty.wait()
        except TimeoutError:
            logger.warning("draining: %d connections didn't close in time", len(self.connections))

    async def stop(self) -> None:
        """Say that this node's connections are gone, write the audit, let go of Redis."""
        await tasks.end(self._tasks)
        await self.hub.stop()
        await self.presence.stop()
        await self.audit.stop()
        await self.redis.aclose()

    async def _end_oldest(self, connection_ids: list[str]) -> None:
        await self.terminations.ask(connection_ids, CloseCode.TOO_MANY_CONNECTIONS)

    async def _end_unwanted(self) -> None:
        """Close connections that are to be ended or whose tokens are revoked, on a hint and regularly without one."""
        while True:
            try:
                wishes = await self.terminations.pending()
                ended = [
                    (self.connections[name], name, code) for name, code in wishes.items() if name in self.connections
                ]
                for connection, _, code in ended:
                    connection.close(code)
                if ended:
                    await self.terminations.done([name for _, name, _ in ended])
                if await self.revocations.refresh():
                    for connection in list(self.connections.values()):
                        connection.recheck()
            except TransientError as error:
                logger.warning("connections to end and revoked tokens can't be looked up now: %s", error)
            try:
                async with asyncio.timeout(KICK_SECONDS):
                    await self._kick_hint.wait()
            except TimeoutError:
                continue
            self._kick_hint.clear()

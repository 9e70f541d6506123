"""Run the parts of one gateway process as one: Redis, hub, presence, audit, revocations, draining.

`config/asgi.py` makes it and enters it (``async with node``).
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Protocol

from channels.layers import get_channel_layer

from realtime.aio import tasks
from realtime.aio.waiting import wait_event
from realtime.audit.recorder import Audit
from realtime.auth import tokens
from realtime.auth.keys import Keys
from realtime.auth.principal import Principal
from realtime.auth.revocations import Revocations
from realtime.close_codes import CloseCode
from realtime.conf import RealtimeConf
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
"""A connection whose frame takes between one and two of these reads ahead."""
_random = random.SystemRandom()
RECHECKED_AT_ONCE = 500
CONTROL_SECONDS = 1.0
"""How often termination requests and revocations are read, if no message announces them."""


class LiveConnection(Protocol):
    """A live connection, as the node uses it."""

    def close(self, code: int) -> None: ...

    def send_away(self, retry_after: int) -> None: ...

    def recheck(self) -> None: ...


class Serving(Protocol):
    """A connection that serves a frame now. ``frames_in`` counts the frames it received."""

    frames_in: int

    def read_ahead(self) -> None: ...


class Node:
    """One gateway process. ``connections`` holds every live connection by its id."""

    def __init__(self, conf: RealtimeConf) -> None:
        layer = get_channel_layer()
        self.name = new_node_name()
        self.conf = conf
        self.redis = connect(conf.redis_url)
        self._control_hint = asyncio.Event()
        self.hub = Hub(layer, FeedLog(self.redis, conf), conf, on_control=lambda message: self._control_hint.set())
        self.terminations = Terminations(self.redis, layer)
        self._revoked = asyncio.Event()
        self.keys = Keys(conf)
        self.revocations = Revocations(self.redis, layer, on_new=lambda: self._revoked.set())
        self.presence = Presence(self.redis, self.name, conf, on_excess=self._end_oldest)
        self.audit = Audit(self.redis, self.name, conf)
        self.admission = Admission(conf)
        self.connections: dict[str, LiveConnection] = {}
        self.serving: dict[Serving, None] = {}
        """Those that serve a frame now."""
        self.users: Counter[int] = Counter()
        """Live connections of each authenticated user, in this process."""
        self.empty = asyncio.Event()
        """Set when the last connection has ended."""
        self.draining = False
        """Whether connections are being closed and new ones refused."""
        self._beside: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def beside(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run this in the background as well; call it before the node is started."""
        self._beside.append((name, work))

    async def __aenter__(self) -> "Node":
        """Start the background tasks."""
        self.hub.start()
        self._tasks = [
            tasks.supervise(self.presence.run, "presence"),
            tasks.supervise(self.audit.run, "audit"),
            tasks.supervise(self._end_unwanted, "ending connections"),
            tasks.supervise(self.revocations.run, "comparing revocations"),
            tasks.supervise(self._end_revoked, "ending revoked connections"),
            tasks.supervise(self.keys.run, "fetching keys"),
            tasks.supervise(self._measure, "measuring"),
            tasks.supervise(self._find_slow, "finding slow frames"),
            tasks.supervise(metrics.watch_loop, "the loop's lag"),
            *(tasks.supervise(work, name) for name, work in self._beside),
        ]
        logger.info("gateway %s is up", self.name)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the background tasks, remove this node's presence, write the rest of the audit, close Redis."""
        async with AsyncExitStack() as stack:  # each step runs, also where one before it failed
            stack.push_async_callback(self.redis.aclose)
            stack.callback(self.revocations.close)
            stack.push_async_callback(self.audit.stop)
            stack.push_async_callback(self.presence.stop)
            stack.push_async_callback(self.hub.stop)
            await tasks.end(self._tasks)

    async def authenticate(self, token: str) -> Principal:
        """Return the principal of a valid token.

        Raises:
            AuthenticationError: the token is not accepted.
            TransientError: the keys or the revocations are unavailable.
        """
        principal = await tokens.resolve(token, self.keys)
        await self.revocations.check(principal)
        return principal

    async def _measure(self) -> None:
        """Update the gauges and measure this process's memory."""
        while True:
            metrics.connections.set(len(self.connections))
            metrics.users.set(len(self.users))
            self.admission.memory = resident_memory()
            await asyncio.sleep(MEASURE_SECONDS)

    async def _find_slow(self) -> None:
        """Let connections read ahead whose frame has been served for a while."""
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
        """``ok``, or why new connections are refused."""
        return "draining" if self.draining else self.missing or "ok"

    @property
    def missing(self) -> str:
        """What this process has not loaded yet and needs to accept any token; empty from then on."""
        if not self.revocations.are_known:
            return "the revoked tokens are not loaded yet (from Redis or the database)"
        return "" if self.keys.are_known else "the keys at CHATWS_JWT_JWKS_URL have never been fetched"

    async def drain(self) -> None:
        """Close the connections, some at a time, each with another time to reconnect; return when they have ended.

        From now on `/ready` fails and new connections are refused. It takes ``drain_delay`` plus ``drain_seconds`` at
        most.
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
        logger.info("draining: closing %d connections", len(leaving))
        sent = 0.0
        while leaving:
            sent += each
            for connection in [leaving.pop() for _ in range(min(max(int(sent), 1), len(leaving)))]:
                connection.send_away(_random.randint(1, conf.drain_retry_seconds))
            sent %= 1
            await asyncio.sleep(DRAIN_STEP if leaving else 0)
        if not await wait_event(self.empty, deadline - asyncio.get_running_loop().time()):
            logger.warning("draining: %d connections did not close in time", len(self.connections))

    async def _end_oldest(self, connection_ids: list[str]) -> None:
        await self.terminations.ask(connection_ids, CloseCode.TOO_MANY_CONNECTIONS)

    async def _end_unwanted(self) -> None:
        """Close connections by termination requests, and load revocations: on a message and at an interval."""
        while True:
            try:
                while requests := await self.terminations.news():
                    for name in requests.keys() & self.connections.keys():
                        self.connections[name].close(requests[name])
            except Exception as error:  # it supervises both: whatever fails is tried again in a second
                logger.warning("termination requests can't be read now: %s", error)
            try:
                await self.revocations.refresh()
            except Exception as error:  # as above
                logger.warning("revocations can't be read now: %s", error)
            if await wait_event(self._control_hint, CONTROL_SECONDS):
                self._control_hint.clear()

    async def _end_revoked(self) -> None:
        """Close the connections whose token has been revoked, whenever this process learns of revocations."""
        while True:
            await self._revoked.wait()
            self._revoked.clear()
            for number, connection in enumerate(list(self.connections.values()), 1):
                connection.recheck()
                if number % RECHECKED_AT_ONCE == 0:
                    await asyncio.sleep(0)  # let frames through

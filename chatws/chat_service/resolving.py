"""Find the instances of a service behind a DNS name, by resolving it again and again.

gRPC resolves a name again only after a connection broke: behind a headless Kubernetes service new pods would get no
call.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from realtime.aio import tasks

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
"""How often the name is resolved, as long as Kubernetes lets others cache it."""
AGAIN_SECONDS = 0.5
"""The same while no address is known."""
FORGET_SECONDS = 15.0
"""How long an address stays known after it was last in an answer: some answers hold a part of all addresses."""


class ResolvedName:
    """The addresses of ``name:port``, resolved from `start` on. While DNS fails, the last known addresses stay."""

    def __init__(self, address: str, changed: Callable[[tuple[str, ...]], None]) -> None:
        self.address = address
        self.known: tuple[str, ...] = ()
        """``IP:port`` of each address, sorted."""
        self.problem = "the name has not been resolved yet"
        """Why `known` may be out of date; empty while DNS answers."""
        self._host, _, self._port = address.rpartition(":")
        self._changed = changed
        self._seen: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start resolving in the running loop; further calls do nothing."""
        if self._task is None:
            self._task = tasks.supervise(self._run, "resolving a name")

    async def stop(self) -> None:
        """Stop resolving."""
        if self._task is not None:
            await tasks.end([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            await self._resolve()
            await asyncio.sleep(INTERVAL_SECONDS if self.known else AGAIN_SECONDS)

    async def _resolve(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            infos = await loop.getaddrinfo(self._host, int(self._port), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            problem = f"the name does not resolve: {error}"
            if problem != self.problem:
                logger.warning("%s: %s; keeping the known addresses %s", self.address, problem, list(self.known))
            self.problem = problem
            return
        self.problem = ""
        now = loop.time()
        for family, *_, where in infos:
            host = f"[{where[0]}]" if family == socket.AF_INET6 else where[0]
            self._seen[f"{host}:{self._port}"] = now
        self._seen = {address: at for address, at in self._seen.items() if now - at < FORGET_SECONDS}
        known = tuple(sorted(self._seen))
        if known and known != self.known:
            logger.info("%s: the addresses are now %s", self.address, ", ".join(known))
            self.known = known
            self._changed(known)

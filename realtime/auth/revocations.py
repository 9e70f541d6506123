"""Revoked tokens: one by its id, or all of a user or of everybody issued up to a time.

The database stores them, Redis holds a copy, and every gateway keeps them in memory: authentication waits for neither.
A gateway never forgets one that it knows, and compares Redis's copy with the database: a Redis that lost its copy, or
went back in time, gets the rest again.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from asgiref.sync import sync_to_async

from realtime import database
from realtime.aio.waiting import wait_event
from realtime.auth import revocation_rows
from realtime.auth.principal import Principal
from realtime.auth.revocation_rows import FOREVER, Row
from realtime.conf import RealtimeConf
from realtime.exceptions import AuthenticationError, RealtimeError, RevocationsUnavailable
from realtime.feeds.names import CONTROL_GROUP
from realtime.ids import new_epoch
from realtime.layers.protocol import Layer, send
from realtime.models import Revocation
from realtime.redis import keys
from realtime.redis.client import Redis, connect
from realtime.redis.scripts import Script

logger = logging.getLogger(__name__)

LOAD_SECONDS = 5.0
COMPARE_SECONDS = 5.0
"""How often the database is asked for the number of the last revocation."""
DATABASE_SECONDS = 2.0
"""How long a gateway that starts waits for the database before Redis's copy is enough."""
COPIED_AT_ONCE = 1_000
MAX_JTI = 256
"""Longest id of a token that can be revoked, in characters."""
EXPIRED_SECONDS = 86_400
"""How long the revocation of one token outlasts its expiry: longer than clocks differ."""

_auth_revoke = Script("auth_revoke")
T = TypeVar("T")


class Revocations:
    """The revocations that this process knows. ``on_new`` is called when it learns of some."""

    def __init__(self, redis: Redis, layer: Layer, on_new: Callable[[], None] = lambda: None) -> None:
        self._redis = redis
        self._layer = layer
        self._on_new = on_new
        self._known: dict[str, tuple[int, int]] = {}
        self._version: bytes | None = None
        """Redis's, as last loaded."""
        self._number = -1
        """The database's, as last read."""
        self._loaded = asyncio.Event()
        self._compared = False
        """Whether the database has answered, or failed to."""
        self._began = 0.0
        self._lost = asyncio.Event()
        """Set while Redis has no copy."""
        self._thread = ThreadPoolExecutor(1, "revocations")  # one, so it has one connection to the database
        self._problem = ""

    @property
    def are_known(self) -> bool:
        """Whether they have been loaded: no token is accepted before that."""
        return self._loaded.is_set()

    async def revoke(
        self, *, user_id: int = 0, jti: str = "", issued_until: int = 0, expires_at: int = 0, by: str = ""
    ) -> Revocation:
        """Revoke a token by its id, else a user's tokens, else everybody's.

        A user's or everybody's tokens are revoked if issued up to ``issued_until`` (0: now) or without an ``iat``, for
        ever. A single token is revoked for ever too, or until ``expires_at``, its ``exp``, if that is given. ``by`` is
        stored for the admin. Returns the stored row. Raises what the database and Redis raise; after an error of Redis
        the gateways learn of it from the database within `COMPARE_SECONDS`, unless the caller's transaction ends
        without it.
        """
        whose = f"jti:{jti}" if jti else f"user:{user_id}" if user_id else "all"
        until = int(time.time()) if jti else issued_until or int(time.time())
        kept_until = min(expires_at + EXPIRED_SECONDS, FOREVER) if jti and expires_at else FOREVER
        # In the caller's thread, so in its transaction: the admin's ends without the row if Redis fails.
        stored, number = await sync_to_async(revocation_rows.store)(Row(whose, until, kept_until), by)
        row = Row(whose, stored.issued_until, stored.kept_until)
        if not await self._run_copy(f"{number}:{new_epoch()}", str(number - 1), [row]):
            with database.translated():
                await self._copy(*await sync_to_async(revocation_rows.read)())
        with suppress(RealtimeError):  # only a hint: gateways check for new revocations every second
            await send(self._layer, CONTROL_GROUP, {"type": "revoked"})
        return stored

    async def refresh(self) -> None:
        """Load Redis's copy if it changed. Raises what Redis raises."""
        version = await self._redis.get(keys.revoked_version())
        self._began = self._began or time.monotonic()
        if version is None:
            self._lost.set()
            return
        if version != self._version:
            rows = await self._news(version) or [
                _row(*item) for item in (await self._redis.hgetall(keys.revoked())).items()
            ]
            self._learn(rows)
            self._version = version
            if expired := [row.whose for row in rows if row.kept_until <= time.time()]:
                await self._redis.hdel(keys.revoked(), *expired)
        if self._compared or time.monotonic() - self._began > DATABASE_SECONDS:
            self._loaded.set()

    async def run(self) -> None:
        """Compare with the database at the start and every few seconds, at once if Redis lost its copy."""
        while True:
            try:
                await self.compare()
                self._problem = ""
            except RealtimeError as error:  # Redis's copy is enough meanwhile
                if str(error) != self._problem:  # it is tried every few seconds, and said once
                    logger.warning("the revoked tokens can't be compared with the database now: %s", error)
                self._problem = str(error)
            self._compared = True
            await wait_event(self._lost, COMPARE_SECONDS)
            self._lost.clear()

    def close(self) -> None:
        """End the thread, also while the database hangs."""
        self._thread.shutdown(wait=False)

    async def compare(self) -> None:
        """Load the database's rows if there are new ones, and copy them to Redis if it lacks some.

        Raises what the database and Redis raise.
        """
        number = await self._in_thread(revocation_rows.number)
        if number != self._number and self._number >= 0 and number == _number_of(self._version):
            self._number = number  # Redis's copy, which this process has loaded, is complete up to its number
        elif number != self._number:
            self._number, rows = await self._in_thread(revocation_rows.read)
            self._learn(rows)
        self._loaded.set()
        if _number_of(await self._redis.get(keys.revoked_version())) != self._number:
            await self._copy(*await self._in_thread(revocation_rows.read))

    async def check(self, principal: Principal) -> None:
        """Raise if a token is revoked; wait up to `LOAD_SECONDS` for the first load.

        Raises:
            AuthenticationError: reason ``revoked``.
            RevocationsUnavailable: the revocations have not been loaded yet.
        """
        if not self._loaded.is_set():
            try:
                async with asyncio.timeout(LOAD_SECONDS):
                    await self._loaded.wait()
            except TimeoutError:
                raise RevocationsUnavailable("the revoked tokens have not been loaded from Redis yet") from None
        if self.is_revoked(principal):
            raise AuthenticationError("revoked", "the token has been revoked")

    def is_revoked(self, principal: Principal) -> bool:
        """Return whether a token is revoked, by what this process has loaded."""
        known = self._known
        if not known:
            return False
        if principal.jti and f"jti:{principal.jti}" in known:
            return True
        return any(
            principal.issued_at <= known[whose][0] for whose in (f"user:{principal.user_id}", "all") if whose in known
        )

    def _learn(self, rows: Iterable[Row]) -> None:
        """Add revocations to the known ones, of which only those of expired tokens are forgotten."""
        now, known, is_new = time.time(), dict(self._known), False
        for whose, until, kept in rows:
            before = known.get(whose, (-1, -1))
            if kept > now and (until > before[0] or kept > before[1]):
                known[whose] = max(until, before[0]), max(kept, before[1])
                is_new = True
        if is_new:
            self._known = {whose: times for whose, times in known.items() if times[1] > now}
            self._on_new()

    async def _copy(self, number: int, rows: Sequence[Row]) -> None:
        """Add rows to Redis's copy. The version comes last, so that a copy with this number is complete."""
        for start in range(0, len(rows) or 1, COPIED_AT_ONCE):
            part = rows[start : start + COPIED_AT_ONCE]
            version = f"{number}:{new_epoch()}" if start + COPIED_AT_ONCE >= len(rows) else ""
            await self._run_copy(version, "", part)

    async def _run_copy(self, version: str, number_before: str, rows: Sequence[Row]) -> bool:
        """Return whether the rows were added; not if the copy had to have another number before."""
        where = [keys.revoked(), keys.revoked_version(), keys.revoked_news()]
        args = [value for row in rows for value in row]
        return bool(await _auth_revoke.run(self._redis, where, [version, number_before, *args]))

    async def _news(self, version: bytes) -> list[Row]:
        """Return the revocations since the loaded version, if Redis still lists each of them; else nothing."""
        known, number = _number_of(self._version), _number_of(version)
        if not 0 <= known < number:
            return []
        listed = [item.split(b" ", 3) for item in await self._redis.lrange(keys.revoked_news(), 0, number - known - 1)]
        if [_number_of(version) for version, *_ in listed] != list(range(number, known, -1)):
            return []
        return [Row(whose.decode(), int(until), int(kept)) for _, until, kept, whose in listed]

    async def _in_thread(self, ask: Callable[[], T]) -> T:
        """Ask the database in this object's thread, where no caller has a transaction; a dead connection is replaced.

        Raises:
            DatabaseUnavailable: it can't be reached.
        """

        def work() -> T:
            with database.database_access():
                return ask()

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _number_of(version: bytes | None) -> int:
    """Return the database's number in Redis's version; -1 without one, as an earlier release writes it."""
    number, colon, _ = (version or b"").partition(b":")
    return int(number) if colon and number.isdigit() else -1


def _row(name: bytes, value: bytes) -> Row:
    until, _, kept = value.partition(b" ")
    return Row(name.decode(), int(until), int(kept))


@asynccontextmanager
async def connected(conf: RealtimeConf, layer: Layer) -> AsyncIterator[Revocations]:
    """Give a `Revocations` with its own Redis client, for the command and the admin; close the client afterwards."""
    async with connect(conf.redis_url) as redis:
        revocations = Revocations(redis, layer)
        try:
            yield revocations
        finally:
            revocations.close()

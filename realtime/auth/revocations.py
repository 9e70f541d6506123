"""Revoked tokens: one by its id, or all of a user or of everybody issued up to a time.

The database stores them, Redis holds a copy, and every gateway keeps them in memory: authentication waits for neither.
If Redis lost its copy, a gateway copies them from the database again.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from realtime import database
from realtime.auth.principal import Principal
from realtime.conf import RealtimeConf
from realtime.exceptions import AuthenticationError, RealtimeError, RevocationsUnavailable
from realtime.feeds.names import CONTROL_GROUP
from realtime.ids import new_epoch
from realtime.layers.protocol import Layer, send
from realtime.models import Revocation
from realtime.redis import keys
from realtime.redis.client import Redis, connect
from realtime.redis.scripts import Script

LOAD_SECONDS = 5.0
COPIED_AT_ONCE = 1_000
MAX_JTI = 256
"""Longest id of a token that can be revoked, in characters."""

_auth_revoke = Script("auth_revoke")


class Revocations:
    """The revocations, as last loaded by this process."""

    def __init__(self, redis: Redis, layer: Layer, kept_days: int) -> None:
        self._redis = redis
        self._layer = layer
        self._kept_seconds = kept_days * 86_400
        self._known: dict[str, tuple[int, int]] = {}
        self._version: bytes | None = None
        self._loaded = asyncio.Event()

    @property
    def are_known(self) -> bool:
        """Whether they have been loaded: no token is accepted before that."""
        return self._loaded.is_set()

    async def revoke(self, *, user_id: int = 0, jti: str = "", issued_until: int = 0, by: str = "") -> Revocation:
        """Revoke a token by its id, else a user's tokens, else everybody's.

        A user's or everybody's tokens are revoked if issued up to ``issued_until`` (0: now) or without an ``iat``.
        ``by`` is stored for the admin. Returns the stored row. Raises what the database and Redis raise; after an error
        of Redis the call has to be repeated.
        """
        now = int(time.time())
        whose = f"jti:{jti}" if jti else f"user:{user_id}" if user_id else "all"
        until = now if jti else issued_until or now
        before = await Revocation.objects.filter(whose=whose).afirst()
        kept, _ = await Revocation.objects.aupdate_or_create(
            whose=whose,
            defaults={
                "issued_until": max(until, before.issued_until if before else 0),
                "kept_until": now + self._kept_seconds,
                "revoked_by": by,
            },
        )
        await Revocation.objects.filter(kept_until__lt=now).adelete()
        await self._copy_all()
        with suppress(RealtimeError):  # only a hint: gateways check for new revocations every second
            await send(self._layer, CONTROL_GROUP, {"type": "revoked"})
        return kept

    async def refresh(self) -> bool:
        """Load the revocations if they changed; return whether they did.

        Raises what Redis raises and, if Redis lost its copy, what the database raises.
        """
        version = await self._redis.get(keys.REVOKED_VERSION)
        if version is None:
            await self._copy_all()
            version = await self._redis.get(keys.REVOKED_VERSION)
        if version == self._version:
            return False
        now, known, forgotten = time.time(), {}, []
        for name, value in (await self._redis.hgetall(keys.REVOKED)).items():
            until, _, kept = value.decode().partition(" ")
            if int(kept) > now:
                known[name.decode()] = (int(until), int(kept))
            else:
                forgotten.append(name)
        if forgotten:
            await self._redis.hdel(keys.REVOKED, *forgotten)
        self._known, self._version = known, version
        self._loaded.set()
        return True

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

    async def _copy_all(self) -> None:
        now = int(time.time())
        args: list[str | int] = []
        with database.translated():
            async for one in Revocation.objects.filter(kept_until__gt=now).aiterator(chunk_size=COPIED_AT_ONCE):
                args += [one.whose, one.issued_until, one.kept_until]
                if len(args) >= 3 * COPIED_AT_ONCE:
                    await self._copy(args)
                    args = []
        await self._copy(args)

    async def _copy(self, args: list[str | int]) -> None:
        await _auth_revoke.run(self._redis, [keys.REVOKED, keys.REVOKED_VERSION], [new_epoch(), *args])


@asynccontextmanager
async def connected(conf: RealtimeConf, layer: Layer) -> AsyncIterator[Revocations]:
    """Give a `Revocations` with its own Redis client, for the command and the admin; close the client afterwards."""
    async with connect(conf.redis_url) as redis:
        yield Revocations(redis, layer, conf.revocation_days)

"""Tokens that no longer count: one by its id, all of a user, or everybody's, issued up to a moment.

They live in the database, are copied to Redis, and are known by heart to every gateway: nobody waits for either
to be let in. A Redis that lost them gets them from the database again.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from realtime.auth.principal import Principal
from realtime.conf import RealtimeConf
from realtime.exceptions import AuthenticationError, RevocationsUnavailable
from realtime.feeds.names import CONTROL_GROUP
from realtime.ids import new_epoch
from realtime.layers.protocol import Layer
from realtime.models import Revocation
from realtime.redis import keys
from realtime.redis.client import Redis, connect
from realtime.redis.errors import RedisError
from realtime.redis.scripts import Script

LOAD_SECONDS = 5.0
COPIED_AT_ONCE = 1_000
MAX_JTI = 256
"""Longest id of a token that can be revoked, in characters."""

_copy = Script("revoke")


class Revocations:
    """What has been revoked, as this process knows it."""

    def __init__(self, redis: Redis, layer: Layer, kept_days: int) -> None:
        self._redis: Any = redis  # redis-py's types give one signature for its two kinds of client
        self._layer = layer
        self._kept_seconds = kept_days * 86_400
        self._known: dict[str, tuple[int, int]] = {}
        self._version: bytes | None = None
        self._loaded = asyncio.Event()

    @property
    def are_known(self) -> bool:
        """Whether anybody can be let in."""
        return self._loaded.is_set()

    async def revoke(self, *, user_id: int = 0, jti: str = "", issued_until: int = 0, by: str = "") -> Revocation:
        """Revoke a token by its id, else a user's tokens, else everybody's; these issued up to a moment (0: now).

        A token without an ``iat`` counts as issued long ago. ``by`` is kept with it, for people to read. Raises what
        the database and Redis raise; after an error of Redis it has to be called again. Returns what is kept.
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
        with suppress(RedisError, OSError):  # a hint: it counts already, and gateways look every second
            await self._layer.group_send(CONTROL_GROUP, {"type": "revoked"})
        return kept

    async def refresh(self) -> bool:
        """Learn what is new; whether anything is. Raises what Redis and, if Redis lost them, the database raise."""
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
        """Return if a token still counts.

        Raises:
            AuthenticationError: reason ``revoked``.
            RevocationsUnavailable: Redis has not said yet what is revoked.
        """
        if not self._loaded.is_set():
            try:
                async with asyncio.timeout(LOAD_SECONDS):
                    await self._loaded.wait()
            except TimeoutError:
                raise RevocationsUnavailable("Redis has not said yet which tokens are revoked") from None
        if self.is_revoked(principal):
            raise AuthenticationError("revoked", "the token has been revoked")

    def is_revoked(self, principal: Principal) -> bool:
        """Whether a token no longer counts, as far as is known here."""
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
        async for one in Revocation.objects.filter(kept_until__gt=now).aiterator(chunk_size=COPIED_AT_ONCE):
            args += [one.whose, one.issued_until, one.kept_until]
            if len(args) >= 3 * COPIED_AT_ONCE:
                await self._copy(args)
                args = []
        await self._copy(args)

    async def _copy(self, args: list[str | int]) -> None:
        await _copy.run(self._redis, [keys.REVOKED, keys.REVOKED_VERSION], [new_epoch(), *args])


@asynccontextmanager
async def connected(conf: RealtimeConf, layer: Layer) -> AsyncIterator[Revocations]:
    """The revocations, for those who have no client of Redis open: the command and the admin."""
    redis = connect(conf.redis_url)
    try:
        yield Revocations(redis, layer, conf.revocation_days)
    finally:
        await redis.aclose()

"""Tokens that no longer count: one by its id, all of a user, or everybody's, issued up to a moment.

Kept in Redis, known by heart to every gateway: nobody waits for Redis to be let in. A Redis that lost them gets them
back from the gateways.
"""

import asyncio
import time
from typing import Any

from realtime.auth import Principal
from realtime.exceptions import AuthenticationError, FeedUnavailable
from realtime.groups import CONTROL_GROUP
from realtime.publisher import Layer
from realtime.redis import Redis

REVOKED = "chatws:revoked"
"""Hash: whose tokens (``jti:<id>``, ``user:<id>``, ``all``) to ``<issued up to> <kept until>``, Unix seconds."""
VERSION = "chatws:revoked:version"
LOAD_SECONDS = 5.0
KEPT_SECONDS = 30 * 86_400
"""A token has to expire sooner than that, or its revocation is forgotten before it."""


class Revocations:
    """What has been revoked, as this process knows it."""

    def __init__(self, redis: Redis, layer: Layer) -> None:
        self._redis: Any = redis  # redis-py's types give one signature for its two kinds of client
        self._layer = layer
        self._known: dict[str, tuple[int, int]] = {}
        self._version: bytes | None = None
        self._loaded = asyncio.Event()

    async def revoke(self, *, user_id: int = 0, jti: str = "", issued_until: int = 0) -> None:
        """Revoke a token by its id, else a user's tokens, else everybody's; these issued up to a moment (0: now).

        Raises what Redis raises. A token without an ``iat`` counts as issued long ago.
        """
        now = int(time.time())
        whose = f"jti:{jti}" if jti else f"user:{user_id}" if user_id else "all"
        until = 2**53 if jti else issued_until or now
        pipeline = self._redis.pipeline()
        for name, (_, kept_until) in self._known.items():
            if kept_until < now:
                pipeline.hdel(REVOKED, name)
        pipeline.hset(REVOKED, whose, f"{until} {now + KEPT_SECONDS}")
        pipeline.incr(VERSION)
        await pipeline.execute()
        await self._layer.group_send(CONTROL_GROUP, {"type": "revoked"})

    async def refresh(self) -> bool:
        """Learn what is new; whether anything is. Raises what Redis raises."""
        version = await self._redis.get(VERSION)
        if version is None and self._known:
            await self._give_back()
            return False
        if version == self._version and self._loaded.is_set():
            return False
        fields = await self._redis.hgetall(REVOKED)
        now = time.time()
        known = {name.decode(): (int(until), int(kept)) for name, (until, kept) in _split(fields)}
        self._known = {name: moments for name, moments in known.items() if moments[1] > now}
        self._version = version
        self._loaded.set()
        return True

    async def check(self, principal: Principal) -> None:
        """Return if a token still counts.

        Raises:
            AuthenticationError: reason ``revoked``.
            FeedUnavailable: Redis has not said yet what is revoked.
        """
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                await self._loaded.wait()
        except TimeoutError:
            raise FeedUnavailable("Redis did not answer in time") from None
        if self.is_revoked(principal):
            raise AuthenticationError("revoked", "the token has been revoked")

    def is_revoked(self, principal: Principal) -> bool:
        """Whether a token no longer counts, as far as is known here."""
        if not self._known:
            return False
        names = [f"user:{principal.user_id}", "all", *([f"jti:{principal.jti}"] if principal.jti else [])]
        return any(principal.issued_at <= self._known[name][0] for name in names if name in self._known)

    async def _give_back(self) -> None:
        pipeline = self._redis.pipeline()
        for name, (until, kept) in self._known.items():
            pipeline.hsetnx(REVOKED, name, f"{until} {kept}")
        pipeline.incr(VERSION)
        await pipeline.execute()


def _split(fields: dict[bytes, bytes]) -> list[tuple[bytes, tuple[str, str]]]:
    split = [(name, value.decode().partition(" ")) for name, value in fields.items()]
    return [(name, (until, kept)) for name, (until, _, kept) in split]

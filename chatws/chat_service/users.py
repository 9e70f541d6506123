"""Look up names and avatars of users in the platform's user service, with a cache in Redis that other services share.

A lookup waits only for a short time: a message is delivered without a name if the name is late.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from chatws.chat_service.port import User, Users, UserServiceError
from realtime.aio import tasks
from realtime.aio.backoff import Backoff
from realtime.exceptions import RealtimeError, TransientError
from realtime.redis.client import Redis
from realtime.redis.pipeline import pipelined

logger = logging.getLogger(__name__)

LOOKUP_SECONDS = 0.2
"""How long a lookup waits for names."""
CACHE_SECONDS = 300
"""How long a name stays in Redis."""
UNKNOWN_SECONDS = 30.0
"""How long a user that the user service doesn't know is not fetched again."""
MAX_UNKNOWN = 10_000
"""How many unknown users are remembered."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""How long the user service is not called after a failure."""


@dataclass(frozen=True, slots=True)
class Name:
    """The name and the avatar that clients show for a user."""

    name: str
    avatar: str


UNNAMED = Name("用户", "")
"""The name of a user without a name, or whose name is unavailable."""


class Names:
    """Looks up many users in one call, and each user in one call at a time. Without ``users`` there are no names."""

    def __init__(self, redis: Redis, users: Users | None = None) -> None:
        self._redis = redis
        self._users = users
        self._calls: dict[int, asyncio.Task[Mapping[int, Name]]] = {}
        self._unknown: dict[int, float] = {}
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._call_at = 0.0

    @property
    def has_service(self) -> bool:
        """Return whether a user service is configured."""
        return self._users is not None

    async def of(self, user_ids: Iterable[int]) -> Mapping[int, Name]:
        """Return a name for each user, or an empty result without a user service.

        The lookup takes at most `LOOKUP_SECONDS` and raises nothing.
        """
        wanted = set(user_ids)
        found: dict[int, Name] = {}
        if self._users is None or not wanted:
            return found
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found |= await self._cached(wanted)
                found |= await self._fetch(wanted - found.keys(), self._users)
        except TimeoutError:
            logger.debug("the names of %d users were not available in time", len(wanted - found.keys()))
        except Exception:  # boundary: a stored message must be delivered, even without a name
            logger.exception("the lookup of %d users' names failed", len(wanted - found.keys()))
        return {user_id: found.get(user_id, UNNAMED) for user_id in wanted}

    @property
    def instances(self) -> Sequence[str]:
        """Return ``host:port`` of each instance of the user service; empty if the setting lists IP addresses."""
        return self._users.instances if self._users is not None else ()

    async def state(self) -> str:
        """Return ``ok``, or why the user service is unavailable; empty without a user service."""
        return await self._users.state() if self._users is not None else ""

    async def close(self) -> None:
        """Cancel running lookups and close the connection."""
        await tasks.end(set(self._calls.values()))
        if self._users is not None:
            await self._users.close()

    async def _cached(self, user_ids: Collection[int]) -> dict[int, Name]:
        """Return the names that Redis has."""
        try:
            ids = list(user_ids)
            fields = await pipelined(self._redis, [("HMGET", _key(user_id), "name", "avatar") for user_id in ids])
        except RealtimeError as error:
            _log_defect(error)
            return {}
        pairs = zip(ids, fields, strict=True)
        return {user_id: Name(_text(name), _text(avatar)) for user_id, (name, avatar) in pairs if name is not None}

    async def _fetch(self, user_ids: Collection[int], users: Users) -> dict[int, Name]:
        """Fetch, in one call, the users that no running call fetches; wait for all these calls."""
        now = time.monotonic()
        wanted = [user_id for user_id in user_ids if self._unknown.get(user_id, 0.0) <= now]
        fresh = [user_id for user_id in wanted if user_id not in self._calls]
        if fresh and now >= self._call_at:
            task = tasks.start(self._call(fresh, users), "fetching names")
            self._calls |= dict.fromkeys(fresh, task)
        calls = {self._calls[user_id] for user_id in wanted if user_id in self._calls}
        if calls:
            await asyncio.wait(calls)
        answers = {user_id: name for task in calls for user_id, name in task.result().items()}
        return {user_id: answers[user_id] for user_id in wanted if user_id in answers}

    async def _call(self, user_ids: Collection[int], users: Users) -> Mapping[int, Name]:
        try:
            answered = await users.users(user_ids)
            self._backoff.reset()
            self._remember_unknown(set(user_ids) - {user.user_id for user in answered})
            await self._cache(answered)
        except UserServiceError as error:
            pause = self._backoff.take()
            self._call_at = time.monotonic() + pause
            logger.warning("the user service failed, it is called again in %.1f s: %s", pause, error)
            return {}
        except Exception:  # boundary: no caller may be waiting for this task any more
            logger.exception("fetching the names of %d users failed", len(user_ids))
            return {}
        finally:
            for user_id in user_ids:
                self._calls.pop(user_id, None)
        return {user.user_id: Name(user.name, user.avatar) for user in answered}

    async def _cache(self, users: Collection[User]) -> None:
        commands: list[tuple[str | int, ...]] = []
        for user in users:
            commands.append(("HSET", _key(user.user_id), "name", user.name, "avatar", user.avatar))
            commands.append(("EXPIRE", _key(user.user_id), CACHE_SECONDS))
        try:
            if commands:
                await pipelined(self._redis, commands)
        except RealtimeError as error:
            _log_defect(error)

    def _remember_unknown(self, user_ids: Iterable[int]) -> None:
        if len(self._unknown) > MAX_UNKNOWN:
            self._unknown.clear()
        self._unknown |= dict.fromkeys(user_ids, time.monotonic() + UNKNOWN_SECONDS)


def _log_defect(error: RealtimeError) -> None:
    """Log a permanent error, such as a key of another type; an unavailable Redis is logged elsewhere."""
    if not isinstance(error, TransientError):
        logger.error("the cached names (chat:user:info:<id>) are unusable: %s", error)


def _key(user_id: int) -> str:
    return f"chat:user:info:{user_id}"


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")

"""Names and avatars of users, from the platform's user service, by way of the hash that it shares with others in Redis.

A name is worth waiting for a moment and no more: without one a message goes out all the same.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatws.chat_service.port import User, Users, UserServiceError
from realtime.aio import tasks
from realtime.exceptions import RealtimeError, TransientError
from realtime.redis.client import Redis
from realtime.redis.pipeline import pipelined

logger = logging.getLogger(__name__)

PATIENCE = 0.2
"""Seconds that whoever needs a name waits for it."""
KEPT_SECONDS = 300
UNKNOWN_SECONDS = 30.0
"""How long somebody whom the user service doesn't know isn't asked for again."""
MOST_UNKNOWN = 10_000
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""How long a user service that failed isn't asked."""


@dataclass(frozen=True, slots=True)
class Name:
    """What others are shown of a user."""

    name: str
    avatar: str


NOBODY = Name("用户", "")
"""Who has no name, or whose name can't be had now."""


class Names:
    """Looks up users, many at once; one call at a time for each. Without ``users`` nobody has a name."""

    def __init__(self, redis: Redis, users: Users | None = None) -> None:
        self._redis = redis
        self._users = users
        self._asked: dict[int, asyncio.Task[Mapping[int, Name]]] = {}
        self._unknown: dict[int, float] = {}
        self._pause = 0.0
        self._ask_at = 0.0

    @property
    def are_known(self) -> bool:
        """Whether there is anybody to ask."""
        return self._users is not None

    async def of(self, user_ids: Iterable[int]) -> Mapping[int, Name]:
        """A name for each of these users; empty if there is nobody to ask. Takes `PATIENCE` at most, raises nothing."""
        wanted = set(user_ids)
        found: dict[int, Name] = {}
        if self._users is None or not wanted:
            return found
        try:
            async with asyncio.timeout(PATIENCE):
                found |= await self._kept(wanted)
                found |= await self._ask(wanted - found.keys(), self._users)
        except TimeoutError:
            logger.debug("names of %d users didn't come in time", len(wanted - found.keys()))
        except Exception:  # a message that is stored must not fail for want of a name
            logger.exception("names of %d users can't be had", len(wanted - found.keys()))
        return {user_id: found.get(user_id, NOBODY) for user_id in wanted}

    @property
    def instances(self) -> Sequence[str]:
        """``host:port`` of each instance of the user service, where they are looked up."""
        return self._users.instances if self._users is not None else ()

    async def state(self) -> str:
        """``ok``, or why the user service can't be used now; empty if there is none."""
        return await self._users.state() if self._users is not None else ""

    async def close(self) -> None:
        """Ask no more."""
        await tasks.end(set(self._asked.values()))
        if self._users is not None:
            await self._users.close()

    async def _kept(self, user_ids: Collection[int]) -> dict[int, Name]:
        """Those whom the shared hash has."""
        try:
            ids = list(user_ids)
            fields = await pipelined(self._redis, [("HMGET", _key(user_id), "name", "avatar") for user_id in ids])
        except RealtimeError as error:
            _say(error)
            return {}
        pairs = zip(ids, fields, strict=True)
        return {user_id: Name(_text(name), _text(avatar)) for user_id, (name, avatar) in pairs if name is not None}

    async def _ask(self, user_ids: Collection[int], users: Users) -> dict[int, Name]:
        """Ask for those who aren't asked for already, in one call; wait for all."""
        now = time.monotonic()
        wanted = [user_id for user_id in user_ids if self._unknown.get(user_id, 0.0) <= now]
        fresh = [user_id for user_id in wanted if user_id not in self._asked]
        if fresh and now >= self._ask_at:
            task = tasks.start(self._call(fresh, users), "asking for names")
            self._asked |= dict.fromkeys(fresh, task)
        asked = {self._asked[user_id] for user_id in wanted if user_id in self._asked}
        if asked:
            await asyncio.wait(asked)
        answers = {user_id: name for task in asked for user_id, name in task.result().items()}
        return {user_id: answers[user_id] for user_id in wanted if user_id in answers}

    async def _call(self, user_ids: Collection[int], users: Users) -> Mapping[int, Name]:
        try:
            answered = await users.users(user_ids)
            self._pause = 0.0
            self._remember_unknown(set(user_ids) - {user.user_id for user in answered})
            await self._keep(answered)
        except UserServiceError as error:
            self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
            self._ask_at = time.monotonic() + self._pause
            logger.warning("no names for %.1f s: %s", self._pause, error)
            return {}
        except Exception:  # of a task that nobody may be waiting for any more
            logger.exception("asking for the names of %d users failed", len(user_ids))
            return {}
        finally:
            for user_id in user_ids:
                self._asked.pop(user_id, None)
        return {user.user_id: Name(user.name, user.avatar) for user in answered}

    async def _keep(self, users: Collection[User]) -> None:
        commands: list[Any] = []
        for user in users:
            commands.append(("HSET", _key(user.user_id), "name", user.name, "avatar", user.avatar))
            commands.append(("EXPIRE", _key(user.user_id), KEPT_SECONDS))
        try:
            if commands:
                await pipelined(self._redis, commands)
        except RealtimeError as error:
            _say(error)

    def _remember_unknown(self, user_ids: Iterable[int]) -> None:
        if len(self._unknown) > MOST_UNKNOWN:
            self._unknown.clear()
        self._unknown |= dict.fromkeys(user_ids, time.monotonic() + UNKNOWN_SECONDS)


def _say(error: Exception) -> None:
    """Log what isn't Redis being away, which others log: a mistake, such as a key of another type."""
    if not isinstance(error, TransientError):
        logger.error("kept names (chat:user:info:<id>) can't be used: %s", error)


def _key(user_id: int) -> str:
    return f"chat:user:info:{user_id}"


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")

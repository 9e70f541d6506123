"""Which chat groups each user of this process is in, as the chat service says now. Events are hints to ask again.

One question at a time a user. An answer counts only if nothing was said of the user's groups while it was given, and
if every feed in it was heard before the question: what happened since then has been seen.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Protocol

from chatws.chat_service.port import ChatGateway, ChatServiceError, all_user_group_ids
from realtime.aio import tasks
from realtime.exceptions import FeedUnavailable
from realtime.feeds.names import group_feed
from realtime.hub.hub import Hub

logger = logging.getLogger(__name__)

ASK_AGAIN_SECONDS = 5.0
"""How often a user's unknown group makes us ask."""

LONGEST_BACKOFF = 10.0


class Listener(Protocol):
    """A connection that follows its user's groups."""

    def membership_changed(self) -> None:
        """`Membership.groups` has changed; called in the loop, must not block."""


class Membership:
    """One user's chat groups. ``groups`` is None until the chat service has answered."""

    def __init__(self, user_id: int, chat: ChatGateway, hub: Hub, questions: asyncio.Semaphore) -> None:
        self.user_id = user_id
        self._questions = questions
        self.groups: frozenset[str] | None = None
        self.listeners: set[Listener] = set()
        self._chat = chat
        self._hub = hub
        self._asking: asyncio.Task[frozenset[str]] | None = None
        self._following: asyncio.Task[None] | None = None
        self._stale = False
        self._unheard = False
        self._asked_at = -ASK_AGAIN_SECONDS
        self.checked_at = time.monotonic()
        """When the user came, or was last asked about by the timer."""

    async def ask(self) -> frozenset[str]:
        """The user's groups as of now, or later.

        Raises:
            ChatServiceError: the chat service could not be asked.
            FeedUnavailable: Redis is away.
        """
        self._stale = True
        if self._asking is None:
            self._asking = tasks.start(self._ask(), f"asking for the groups of user {self.user_id}")
            self._asking.add_done_callback(self._answered)
        return await asyncio.shield(self._asking)

    async def current(self) -> None:
        """Return once ``groups`` are known; asks unless every change since the last answer was heard."""
        if self.groups is None or self._unheard or self._stale or self._asking or self._following:
            await self.ask()

    def mark_incomplete(self) -> None:
        """A connection stopped hearing one of the groups, so removals from it may be missed: ask each newcomer."""
        self._unheard = True

    async def is_member(self, group_id: str) -> bool:
        """Whether the user is in a chat group. One we don't know of is asked about, once in 5 s at most."""
        if self.groups is not None and group_id in self.groups:
            return True
        now = time.monotonic()
        is_known = self.groups is not None and not self._stale and self._asking is None
        if is_known and now - self._asked_at < ASK_AGAIN_SECONDS:
            return False
        if is_known:
            self._asked_at = now
        return group_id in await self.ask()

    def invalidate(self) -> None:
        """The chat service refused what we took this user for allowed to do: ask again, once in 5 s at most."""
        now = time.monotonic()
        if now - self._asked_at >= ASK_AGAIN_SECONDS:
            self._asked_at = now
            self.follow()

    def follow(self) -> None:
        """Ask in the background until there is an answer, as long as somebody listens."""
        self._stale = True
        if self._following is None:
            self._following = tasks.spawn(self._follow(), f"following the groups of user {self.user_id}")

    async def followed(self) -> None:
        """Like `follow`, and wait until there is an answer or nobody listens."""
        self.follow()
        if self._following is not None:
            await asyncio.wait([self._following])

    def removed(self, group_id: str) -> None:
        """A removal passed: the user is out until the chat service says otherwise."""
        if self.groups is not None:
            self.groups -= {group_id}
        self.follow()

    async def _ask(self) -> frozenset[str]:
        while True:
            self._stale = False
            async with self._questions:
                groups = await all_user_group_ids(self._chat, self.user_id)
            unheard = [feed for feed in map(group_feed, groups) if not self._hub.is_subscribed(feed)]
            await self._hub.ensure_subscribed(unheard)
            if not self._stale and not unheard:
                break
        self.groups = groups
        for listener in list(self.listeners):
            listener.membership_changed()
        return groups

    def _answered(self, task: asyncio.Task[frozenset[str]]) -> None:
        self._asking = None

    async def _follow(self) -> None:
        wait = 0.5
        try:
            while self.listeners:
                try:
                    await self.ask()
                except (ChatServiceError, FeedUnavailable) as error:
                    logger.warning("the groups of user %d can't be asked for, trying again: %s", self.user_id, error)
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, LONGEST_BACKOFF)
                else:
                    if not self._stale:
                        return
        finally:
            self._following = None


def feeds_of(groups: Iterable[str]) -> list[str]:
    """The feeds of chat groups, in a stable order."""
    return [group_feed(group_id) for group_id in sorted(groups)]

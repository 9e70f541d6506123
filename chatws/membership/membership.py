"""Know the chat groups of one user: read from the chat service, kept fresh by the removals that the hub receives.

Each user's groups are read by one call at a time. An answer counts only if no event about the user's groups came during
the call, and if this process received the feed of every followed group before the call. Then no later removal is
missed. A user may be in more groups than are followed; membership of the others is asked for when it matters.
"""

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from chatws.chat_service.port import ChatGateway, ChatServiceError, all_user_group_ids
from realtime.aio import tasks
from realtime.aio.backoff import Backoff
from realtime.exceptions import FeedUnavailable
from realtime.feeds.names import group_feed
from realtime.hub.hub import Hub
from realtime.hub.subscription import Subscriber

logger = logging.getLogger(__name__)

ASK_AGAIN_SECONDS = 5.0
"""How often, at most, a group that we don't know of, or a refusal, makes us read a user's groups."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0


class Listener(Subscriber, Protocol):
    """A connection that follows its user's groups."""

    def membership_changed(self) -> None:
        """React to a change of `Membership.groups`. It is called in the loop and must not block."""


class Membership:
    """One user's chat groups. ``groups`` are those that this process follows, None until the chat service has answered.

    ``max_followed``: how many are followed without being asked for; 0: all.
    """

    def __init__(
        self, user_id: int, chat: ChatGateway, hub: Hub, calls: asyncio.Semaphore, max_followed: int = 0
    ) -> None:
        self.user_id = user_id
        self.groups: frozenset[str] | None = None
        self.others: frozenset[str] = frozenset()
        """The groups that are not followed, as the chat service said last."""
        self.listeners: dict[Listener, None] = {}
        self.checked_at = time.monotonic()
        """When the user connected, or was last checked by the timer."""
        self._chat = chat
        self._hub = hub
        self._calls = calls
        self._max_followed = max_followed or sys.maxsize
        self._followed_before: frozenset[str] = frozenset()
        """The groups that were followed after the last answer, also those that were lost since."""
        self._joining = Counter[str]()
        """How many connections are joining each chat group."""
        self._refreshing: asyncio.Task[frozenset[str]] | None = None
        self._in_background: asyncio.Task[None] | None = None
        self._stale = False
        """Whether an event came since the call under way began."""
        self._incomplete = False
        self.answers = 0
        """How many answers were taken over. A removal makes the next one a later one than the removal."""
        self._asked_at = -ASK_AGAIN_SECONDS

    async def refresh(self) -> frozenset[str]:
        """Read the user's groups; return them as of now or later.

        Raises:
            ChatServiceError: the chat service could not be asked.
            FeedUnavailable: Redis is unavailable.
        """
        self._stale = True
        if self._refreshing is None:
            self._refreshing = tasks.start(self._refresh(), f"reading the groups of user {self.user_id}")
            self._refreshing.add_done_callback(self._refreshed)
        return await asyncio.shield(self._refreshing)

    async def ensure_fresh(self) -> None:
        """Return once ``groups`` are known; read them unless all changes since the last answer were received.

        Raises:
            ChatServiceError, FeedUnavailable: as `refresh` does.
        """
        if self.groups is None or self._incomplete or self._stale or self._refreshing or self._in_background:
            await self.refresh()

    def refresh_in_background(self) -> None:
        """Read the groups in the background; retry until there is an answer, as long as somebody listens."""
        self._stale = True
        if self._in_background is None:
            name = f"following the groups of user {self.user_id}"
            self._in_background = tasks.spawn(self._refresh_until_fresh(), name)

    async def refreshed(self) -> None:
        """Do as `refresh_in_background`, and wait until there is an answer or nobody listens."""
        self.refresh_in_background()
        if self._in_background is not None:
            await asyncio.wait([self._in_background])

    def mark_incomplete(self) -> None:
        """Mark the cached groups incomplete: this process no longer receives the removals of one of them.

        Each later connection of the user refreshes them.
        """
        self._incomplete = True

    @property
    def known(self) -> frozenset[str] | None:
        """The user's chat groups, followed or not; None until the chat service has answered."""
        return None if self.groups is None else self.groups | self.others

    async def is_member(self, group_id: str) -> bool:
        """Return whether the user is in a chat group; ask about one that no connection receives, at most once in 5 s.

        Raises:
            ChatServiceError, FeedUnavailable: as `refresh` does.
        """
        if self.groups is not None and group_id in self.groups and self._is_received(group_id):
            return True
        now = time.monotonic()
        is_fresh = self.groups is not None and not self._stale and self._refreshing is None
        if is_fresh and now - self._asked_at < ASK_AGAIN_SECONDS:
            return group_id in (self.known or ())
        if is_fresh:
            self._asked_at = now
        return group_id in await self.refresh()

    @contextmanager
    def joining(self, group_id: str) -> Iterator[None]:
        """Follow a chat group, inside the context, until a connection receives it."""
        self._joining[group_id] += 1
        try:
            yield
        finally:
            self._joining[group_id] -= 1
            if not self._joining[group_id]:
                del self._joining[group_id]

    async def may_receive(self, group_id: str) -> bool:
        """Return whether the user is in a chat group, as of a moment after which no removal is missed.

        Raises:
            ChatServiceError, FeedUnavailable: as `refresh` does.
        """
        if self.groups is not None and group_id in self.groups and self._is_received(group_id):
            return True
        await self._hub.ensure_subscribed([group_feed(group_id)])
        return group_id in await self.refresh()

    def invalidate(self) -> None:
        """Refresh, at most once in 5 s, because the chat service refused what the cached groups allow."""
        now = time.monotonic()
        if now - self._asked_at >= ASK_AGAIN_SECONDS:
            self._asked_at = now
            self.refresh_in_background()

    def removed(self, group_id: str) -> None:
        """Take the user out of a group, because a removal was received; the chat service has the last word."""
        if self.groups is not None:
            self.groups -= {group_id}
        self.others -= {group_id}
        self.refresh_in_background()

    def ended(self, group_id: str) -> None:
        """Take the user out of a group that was disbanded, and notify the connections at once."""
        self.removed(group_id)
        for listener in list(self.listeners):
            listener.membership_changed()

    def _is_received(self, group_id: str) -> bool:
        feed = group_feed(group_id)
        return any(feed in self._hub.feeds_of(listener) for listener in self.listeners)

    def _followed(self, groups: frozenset[str]) -> frozenset[str]:
        """Return the groups to follow: those that a connection receives or joins, then the first by id.

        Those that were followed before come first: a connection that lost one, as its log is lost, waits for it.
        """
        if len(groups) <= self._max_followed:
            return groups
        kept = {group_id for group_id in groups if group_id in self._joining or self._is_received(group_id)}
        rest = sorted(groups - kept, key=lambda group_id: (group_id not in self._followed_before, group_id))
        return frozenset(kept.union(rest[: max(0, self._max_followed - len(kept))]))

    async def _refresh(self) -> frozenset[str]:
        while True:
            self._stale = False
            async with self._calls:
                before = self._hub.openings
                groups = await all_user_group_ids(self._chat, self.user_id)
            followed = self._followed(groups)
            not_received = [feed for feed in map(group_feed, followed) if not self._hub.was_subscribed(feed, before)]
            await self._hub.ensure_subscribed(not_received)
            if not self._stale and not not_received:
                break
        self.groups, self.others = followed, groups - followed
        self._followed_before = followed
        self.answers += 1
        for listener in list(self.listeners):
            listener.membership_changed()
        return groups

    def _refreshed(self, task: asyncio.Task[frozenset[str]]) -> None:
        self._refreshing = None

    async def _refresh_until_fresh(self) -> None:
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        try:
            while self.listeners:
                try:
                    await self.refresh()
                except (ChatServiceError, FeedUnavailable) as error:
                    logger.warning("the groups of user %d can't be read, retrying: %s", self.user_id, error)
                    await backoff.sleep()
                else:
                    if not self._stale:
                        return
        finally:
            self._in_background = None


def feeds_of(groups: Iterable[str]) -> list[str]:
    """Return the feeds of chat groups, sorted."""
    return [group_feed(group_id) for group_id in sorted(groups)]


def group_of(feed: str) -> str:
    """Return the chat group of a feed; empty for a user's feed."""
    kind, _, group_id = feed.partition(":")
    return group_id if kind == "group" else ""

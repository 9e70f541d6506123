"""Keep the memberships of all users who are connected to this process."""

import asyncio
import itertools
import logging
import time
from collections import Counter, OrderedDict

from chatws.chat_service.port import DISBANDED, NOT_FOUND, ChatGateway, ChatServiceError
from chatws.membership.membership import Listener, Membership, group_of
from realtime.aio import tasks
from realtime.hub.hub import Hub

logger = logging.getLogger(__name__)

REFRESHED_AT_ONCE = 10
MANY_REMOVALS, REMOVALS_SECONDS = 20, 60.0
"""After so many removals from one chat group within this time we ask whether it was disbanded."""
ENDED_AT_ONCE = 50
CALLS_AT_ONCE = 100
"""More calls wait for their turn, because after an outage of Redis thousands of calls at once would time out."""


class Memberships:
    """The memberships of all users who are connected to this process.

    Each is refreshed every ``every`` seconds, whatever the events say; 0 is never. At most ``max_followed`` groups of a
    user are followed, and those that a connection joined; 0: all.
    """

    def __init__(self, chat: ChatGateway, hub: Hub, every: float = 0.0, max_followed: int = 0) -> None:
        self._chat = chat
        self._hub = hub
        self._every = every
        self._max_followed = max_followed
        self._removals = Counter[str]()
        """How many users were removed from each chat group, since the counts were reset."""
        self._removals_since = time.monotonic()
        self._asking = tasks.Group()
        self._users: OrderedDict[int, Membership] = OrderedDict()
        """The user whose check is due next comes first."""
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self._checking: asyncio.Task[None] | None = None
        self._refreshing_all: asyncio.Task[None] | None = None
        self._not_refreshed: list[Membership] = []
        hub.listen(self)

    def enter(self, user_id: int, listener: Listener) -> Membership:
        """Return the membership of a user; notify ``listener`` of its changes until it leaves."""
        if self._every and self._checking is None:
            self._checking = tasks.supervise(self._check, "checking every user's groups")
        membership = self._users.get(user_id)
        if membership is None:
            membership = self._users[user_id] = Membership(
                user_id, self._chat, self._hub, self._calls, self._max_followed
            )
        membership.listeners[listener] = None
        return membership

    def leave(self, user_id: int, listener: Listener) -> None:
        """Remove a listener. The last one's end forgets the user."""
        membership = self._users.get(user_id)
        if membership is not None:
            membership.listeners.pop(listener, None)
            if not membership.listeners:
                del self._users[user_id]

    def user_removed(self, user_id: int, feed: str) -> None:
        """Take a user out of a chat group: the hub received a removal."""
        group_id, membership = group_of(feed), self._users.get(user_id)
        if membership is not None and group_id:
            membership.removed(group_id)
        if group_id:
            self._count_removal(group_id)

    def reconnected(self) -> None:
        """Refresh all users: removals may have been missed while the channel layer was disconnected.

        Those that still wait for their turn come first, so that all get theirs, however often it reconnects.
        """
        waiting = dict.fromkeys(user for user in self._not_refreshed if user.listeners)
        self._not_refreshed = [*waiting, *(user for user in self._users.values() if user not in waiting)]
        if self._refreshing_all is None or self._refreshing_all.done():
            self._refreshing_all = tasks.spawn(self._refresh_all(), "refreshing every user's groups")

    async def stop(self) -> None:
        """End the background tasks."""
        await self._asking.end()
        await tasks.end(task for task in (self._checking, self._refreshing_all) if task is not None)

    def _count_removal(self, group_id: str) -> None:
        """Ask whether a chat group was disbanded, once many were removed from it.

        Without that, each removal would be delivered to all who wait for their own: N * N frames.
        """
        now = time.monotonic()
        if now - self._removals_since > REMOVALS_SECONDS:
            self._removals.clear()
            self._removals_since = now
        self._removals[group_id] += 1
        if self._removals[group_id] == MANY_REMOVALS:
            self._asking.spawn(self._end_if_disbanded(group_id), f"asking whether {group_id} was disbanded")

    async def _end_if_disbanded(self, group_id: str) -> None:
        try:
            if (await self._chat.group_info(group_id)).status != DISBANDED:
                return
        except ChatServiceError as error:
            if error.code != NOT_FOUND:
                logger.info("can't ask whether chat group %s was disbanded: %s", group_id, error)
                return
        for number, membership in enumerate(list(self._users.values())):
            if group_id in (membership.groups or ()):
                membership.ended(group_id)
            if number % ENDED_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(min(self._every / 4, 1.0))
            failures = await self._check_since(time.monotonic() - self._every)
            if failures:
                logger.warning("the groups of %d users can't be checked now: %s", len(failures), failures[0])

    async def _check_since(self, moment: float) -> list[BaseException]:
        """Refresh those who connected or were checked before a moment, a few at a time; return the errors."""
        failures: list[BaseException] = []
        while some := self._unchecked_since(moment):
            for user in some:
                user.checked_at = time.monotonic()
                self._users.move_to_end(user.user_id)
            answers = await asyncio.gather(*(user.refresh() for user in some), return_exceptions=True)
            failures += [answer for answer in answers if isinstance(answer, BaseException)]
        return failures

    def _unchecked_since(self, moment: float) -> list[Membership]:
        waiting = itertools.takewhile(lambda user: user.checked_at <= moment, self._users.values())
        return list(itertools.islice(waiting, REFRESHED_AT_ONCE))

    async def _refresh_all(self) -> None:
        """Refresh all users, a few at a time; a reconnect meanwhile adds those that had their turn."""
        while self._not_refreshed:
            some, self._not_refreshed = (
                self._not_refreshed[:REFRESHED_AT_ONCE],
                self._not_refreshed[REFRESHED_AT_ONCE:],
            )
            await asyncio.gather(*(user.refreshed() for user in some))

"""Which chat groups each user of this process is in, as the chat service says now. Events are hints to ask again.

One question at a time a user. An answer counts only if nothing was said of the user's groups while it was given, and
if every feed in it was heard before the question: what happened since then has been seen.
"""

import asyncio
import itertools
import logging
import time
from collections import OrderedDict
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
ASKED_AT_ONCE = 10
QUESTIONS_AT_ONCE = 100
"""More than that wait for their turn, so that a lost Redis doesn't become a flood of questions that time out."""


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
            self._asking = asyncio.get_running_loop().create_task(self._ask())
            self._asking.add_done_callback(self._answered)
        return await asyncio.shield(self._asking)

    async def current(self) -> None:
        """Return once ``groups`` are known; asks unless every change since the last answer was heard."""
        if self.groups is None or self._unheard or self._stale or self._asking or self._following:
            await self.ask()

    def unheard(self) -> None:
        """A connection stopped hearing one of the groups, so removals from it may be missed: ask each newcomer."""
        self._unheard = True

    async def knows(self, group_id: str) -> bool:
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

    def doubted(self) -> None:
        """The chat service refused what we took this user for allowed to do: ask again, once in 5 s at most."""
        now = time.monotonic()
        if now - self._asked_at >= ASK_AGAIN_SECONDS:
            self._asked_at = now
            self.follow()

    def follow(self) -> None:
        """Ask in the background until there is an answer, as long as somebody listens."""
        self._stale = True
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._follow())

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
            unheard = [feed for feed in map(group_feed, groups) if not self._hub.hears(feed)]
            await self._hub.prepare(unheard)
            if not self._stale and not unheard:
                break
        self.groups = groups
        for listener in list(self.listeners):
            listener.membership_changed()
        return groups

    def _answered(self, task: asyncio.Task[frozenset[str]]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may be waiting any more

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


class Memberships:
    """The memberships of all users that are connected to this process.

    Each is asked about every so many seconds, whatever the events say; 0 is never.
    """

    def __init__(self, chat: ChatGateway, hub: Hub, every: float = 0.0) -> None:
        self._chat = chat
        self._hub = hub
        self._every = every
        self._checking: asyncio.Task[None] | None = None
        self._users: OrderedDict[int, Membership] = OrderedDict()
        """The one whose check is due next comes first."""
        self._questions = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        hub.on_drop = self._dropped
        hub.on_reconnect = self._reconnected
        self._asking_all: asyncio.Task[None] | None = None
        self._unasked: list[Membership] = []

    def enter(self, user_id: int, listener: Listener) -> Membership:
        """The membership of a user; ``listener`` hears of its changes until it leaves."""
        if self._every and self._checking is None:
            self._checking = tasks.spawn(self._check(), "checking every user's groups")
        membership = self._users.get(user_id)
        if membership is None:
            membership = self._users[user_id] = Membership(user_id, self._chat, self._hub, self._questions)
        membership.listeners.add(listener)
        return membership

    def leave(self, user_id: int, listener: Listener) -> None:
        """The last listener's leaving forgets the user."""
        membership = self._users.get(user_id)
        if membership is not None:
            membership.listeners.discard(listener)
            if not membership.listeners:
                del self._users[user_id]

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(min(self._every / 4, 1.0))
            failures = await self._check_since(time.monotonic() - self._every)
            if failures:
                logger.warning("the groups of %d users can't be checked now: %s", len(failures), failures[0])

    async def _check_since(self, moment: float) -> list[BaseException]:
        """Ask about those who came or were checked before a moment, a few at a time; what went wrong."""
        failures: list[BaseException] = []
        while some := self._unchecked_since(moment):
            for user in some:
                user.checked_at = time.monotonic()
                self._users.move_to_end(user.user_id)
            answers = await asyncio.gather(*(user.ask() for user in some), return_exceptions=True)
            failures += [answer for answer in answers if isinstance(answer, BaseException)]
        return failures

    def _unchecked_since(self, moment: float) -> list[Membership]:
        waiting = itertools.takewhile(lambda user: user.checked_at <= moment, self._users.values())
        return list(itertools.islice(waiting, ASKED_AT_ONCE))

    async def stop(self) -> None:
        """Ask about nobody any more."""
        await tasks.end(task for task in (self._checking, self._asking_all) if task is not None)

    def _dropped(self, user_id: int, feed: str) -> None:
        membership = self._users.get(user_id)
        kind, _, group_id = feed.partition(":")
        if membership is not None and kind == "group":
            membership.removed(group_id)

    def _reconnected(self) -> None:
        self._unasked = list(self._users.values())
        if self._asking_all is None or self._asking_all.done():
            self._asking_all = tasks.spawn(self._ask_all(), "asking for every user's groups")

    async def _ask_all(self) -> None:
        """Ask for the groups of everybody, a few users at a time; from the beginning if the layer was deaf again."""
        while self._unasked:
            some, self._unasked = self._unasked[:ASKED_AT_ONCE], self._unasked[ASKED_AT_ONCE:]
            await asyncio.gather(*(user.followed() for user in some))


def feeds_of(groups: Iterable[str]) -> list[str]:
    """The feeds of chat groups, in a stable order."""
    return [group_feed(group_id) for group_id in sorted(groups)]

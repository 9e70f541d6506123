"""The memberships of all users who are connected to this process."""

import asyncio
import itertools
import logging
import time
from collections import OrderedDict

from chatws.chat_service.port import ChatGateway
from chatws.membership.membership import Listener, Membership
from realtime.aio import tasks
from realtime.hub.hub import Hub

logger = logging.getLogger(__name__)


ASKED_AT_ONCE = 10

QUESTIONS_AT_ONCE = 100
"""More than that wait for their turn, so that a lost Redis doesn't become a flood of questions that time out."""


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
        """The membership of a user; ``listener`` is notified of its changes until it leaves."""
        if self._every and self._checking is None:
            self._checking = tasks.supervise(self._check, "checking every user's groups")
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

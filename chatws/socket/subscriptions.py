"""The feeds that one connection receives: kept in step with its user's chat groups and with what the client asked.

The hub calls it as its `Subscriber`, the user's `Membership` as a listener, handlers when a client joins or leaves.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Protocol

from chatws.chat_service.port import ChatServiceError
from chatws.exceptions import FrameError
from chatws.membership.membership import feeds_of, group_of
from chatws.membership.registry import Memberships
from chatws.protocol.frames import Error, FeedReset, GroupLeft, ResumePoint, ServerData
from chatws.socket import replies
from realtime import conf
from realtime.aio.backoff import Backoff
from realtime.aio.coalesce import Rerun
from realtime.auth.principal import Principal
from realtime.connection.outbox import Outbox
from realtime.exceptions import FeedUnavailable
from realtime.feeds.log import Position
from realtime.feeds.names import group_feed, user_feed
from realtime.hub.hub import Hub
from realtime.hub.resume import MAX_BYTES_IN_ALL, Resume, Subscribed
from realtime.observability import metrics

RETRY_AFTER_SECONDS = 60
"""A connection that has its number of groups has room again once it left one."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 2.0
"""Seconds between two tries to subscribe to feeds whose missed publications Redis doesn't return."""
MAX_LEFT = 1_000
"""How many groups a client may leave before we know which groups its user is in."""


class Client(Protocol):
    """The connection, as its session and subscriptions use it."""

    @property
    def outbox(self) -> Outbox: ...

    @property
    def connection_id(self) -> str: ...

    @property
    def principal(self) -> Principal | None:
        """The user, as the latest token says."""

    async def authenticate(self, token: str) -> Principal:
        """Return the principal of a valid token; raises `AuthenticationError` or `TransientError`."""

    def renew(self, principal: Principal) -> None:
        """Keep the connection until this token expires."""

    def write(self, data: ServerData, message_id: str = "") -> None:
        """Send one frame."""


class Subscriptions:
    """The feeds of one connection. ``on_removed`` is called with each chat group that the user was removed from."""

    __slots__ = (
        "_backoff", "_changing", "_client", "_has_ended", "_hub", "_is_starting", "_left", "_memberships",
        "_on_removed", "_over_limit", "_reconciling", "_resume", "_retry", "_waiting", "deliver", "membership",
        "user_id",
    )  # fmt: skip

    def __init__(
        self, client: Client, user_id: int, memberships: Memberships, hub: Hub, on_removed: Callable[[str], None]
    ) -> None:
        self.user_id = user_id
        self.deliver = client.outbox.write
        self.membership = memberships.enter(user_id, self)
        self._memberships = memberships
        self._client = client
        self._hub = hub
        self._on_removed = on_removed
        self._changing = asyncio.Lock()
        self._reconciling = Rerun(self._reconcile, "reconciling a connection with its user's groups")
        self._is_starting = True
        """Until the first answer about the user's groups: changes until then are part of the start."""
        self._has_ended = False
        self._left: set[str] = set()
        """Chat groups that the client left. The user is still a member."""
        self._waiting: dict[str, int] = {}
        """Chat groups that the client knows of and does not receive yet: their log was lost, or could not be read. The
        number of answers about the membership until then."""
        self._over_limit = 0
        """How many chat groups were above the limit, as the client was told last."""
        self._resume = Resume()
        self._backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        self._retry: asyncio.TimerHandle | None = None
        """The next try to subscribe to what could not be subscribed to."""

    async def start(self, points: dict[str, ResumePoint]) -> tuple[list[Subscribed], ChatServiceError | None]:
        """Subscribe to the user's own feed, then to its chat groups; with the error if these can't be read now.

        Raises:
            FeedUnavailable: Redis is unavailable.
        """
        self._resume.points = {feed: Position(point.epoch, point.offset) for feed, point in points.items()}
        subscribed = await self._hub.subscribe(self, [user_feed(self.user_id)], self._resume)
        if not subscribed:
            raise FeedUnavailable("Redis is unavailable: the user's feed can't be read now")
        async with self._changing:
            try:
                await self.membership.ensure_fresh()
            except ChatServiceError as error:
                self._is_starting = False
                self.membership.refresh_in_background()
                return subscribed, error
            self._is_starting = False
            return subscribed + await self._subscribe_to_groups(), None

    def end(self) -> None:
        """Unsubscribe from everything: the connection has ended."""
        self._has_ended = True
        self._reconciling.cancel()
        if self._retry is not None:
            self._retry.cancel()
        self._hub.unsubscribe_all(self)
        self._memberships.leave(self.user_id, self)

    # What a client asks for

    async def join(self, group_id: str, point: ResumePoint | None, message_id: str) -> bool:
        """Subscribe to a chat group of the user and tell the client; return False if the user is not in it any more.

        Raises:
            FrameError: 429, the connection has its number of groups.
            ChatServiceError: the chat service can't be asked.
            FeedUnavailable: Redis is unavailable.
        """
        feed, outbox = group_feed(group_id), self._client.outbox
        if feed not in self._hub.feeds_of(self) and not self._room():
            metrics.refusals.labels("groups").inc()
            problem = "data.group_id: this connection has its maximum of groups"
            raise FrameError(429, problem, reason="groups_limit", retry_after=RETRY_AFTER_SECONDS)
        resume = None
        if point is not None:
            resume = Resume({feed: Position(point.epoch, point.offset)}, bytes=MAX_BYTES_IN_ALL - outbox.tail_size)
        with self.membership.joining(group_id):
            async with self._changing:
                if not await self.membership.may_receive(group_id):
                    return False
                self._left.discard(group_id)
                if (position := self._hub.position_of(self, feed)) is not None:
                    self._client.write(replies.group_joined(Subscribed(feed, position)), message_id)
                    return True
                return await self._join(feed, resume, message_id)

    async def _join(self, feed: str, resume: Resume | None, message_id: str) -> bool:
        with self._client.outbox.holding() as reply:
            subscribed = await self._hub.subscribe(self, [feed], resume)
            if subscribed:
                reply.first = replies.encode([replies.group_joined(subscribed[0])], message_id)
                reply.tail = replies.tail_of(subscribed)
        return bool(subscribed)

    def leave(self, group_id: str) -> None:
        """Unsubscribe from a chat group because the client asked; nothing of it is sent from now on."""
        known = self.membership.known
        if group_id in known if known is not None else len(self._left) < MAX_LEFT:
            self._left.add(group_id)
        self._waiting.pop(group_id, None)
        if self._hub.unsubscribe(self, group_feed(group_id)):
            self.membership.mark_incomplete()

    # What the user's membership says

    def membership_changed(self) -> None:
        """Subscribe to new chat groups and unsubscribe from those that the user is no longer in."""
        if not self._is_starting:
            self._reconciling.ask()

    async def _reconcile(self) -> None:
        try:
            async with self._changing:
                groups = self.membership.groups
                if groups is None:
                    return
                for feed in sorted(self._hub.feeds_of(self)):
                    if group_of(feed) and group_of(feed) not in groups:
                        self._unsubscribe(feed)
                with self._client.outbox.holding() as reply:
                    subscribed = await self._subscribe_to_groups()
                    reply.first = replies.encode([replies.group_joined(one) for one in subscribed])
                    reply.tail = replies.tail_of(subscribed)
                self._end_waiting()
        except FeedUnavailable:
            self.membership.refresh_in_background()
        finally:
            if self._has_ended:
                self._hub.unsubscribe_all(self)

    def _end_waiting(self) -> None:
        """Tell the client of the chat groups that it waits for and of which its user is no longer a member."""
        received, groups = self._hub.feeds_of(self), self.membership.groups or frozenset()
        for group_id, answers in list(self._waiting.items()):
            if group_feed(group_id) in received or group_id in self._left:
                del self._waiting[group_id]
            elif group_id not in groups and self.membership.answers > answers:
                del self._waiting[group_id]
                self._on_removed(group_id)
                self._client.write(GroupLeft(group_id))

    async def _subscribe_to_groups(self) -> list[Subscribed]:
        """Subscribe to every chat group of the user that is not subscribed to yet; return the new ones.

        If the user lost a group during this call, it is among them all the same: the client gets `group_joined`, the
        missed and the held frames, then `group_left`.
        """
        feeds = self._within_limit(self._missing_feeds())
        points = self._resume.points
        self._resume.points = {feed: points[feed] for feed in feeds if feed in points}
        subscribed = await self._hub.subscribe(self, feeds, self._resume)
        received, groups = self._hub.feeds_of(self), self.membership.groups or frozenset()
        for feed in [one.feed for one in subscribed if one.feed in received]:
            self._resume.points.pop(feed, None)
            if group_of(feed) not in groups:
                self._unsubscribe(feed)
        if waiting := [feed for feed in feeds if feed not in received]:
            for feed in waiting:
                self._waiting.setdefault(group_of(feed), self.membership.answers)
            self._subscribe_later()
        else:
            self._backoff.reset()
        return subscribed

    def _subscribe_later(self) -> None:
        """Try again: Redis did not return what the client missed, or a group was lost or left meanwhile."""
        if self._retry is not None:
            self._retry.cancel()
        if not self._has_ended:
            self._retry = asyncio.get_running_loop().call_later(self._backoff.take(), self._reconciling.ask)

    def _missing_feeds(self) -> list[str]:
        groups, received = self.membership.groups or frozenset(), self._hub.feeds_of(self)
        self._left &= self.membership.known or frozenset()
        wanted = groups - self._left
        return [feed for feed in feeds_of(wanted) if feed not in received]

    def _within_limit(self, feeds: list[str]) -> list[str]:
        """Return as many of the feeds as the connection may still receive; tell the client of the others once."""
        room = self._room()
        over_limit = len(feeds[room:]) + len(self.membership.others - self._left)
        if over_limit and over_limit != self._over_limit:
            metrics.refusals.labels("groups").inc()
            problem = f"{over_limit} of your groups are over the limit of this connection"
            self._client.write(Error(429, problem, reason="groups_limit", retry_after=RETRY_AFTER_SECONDS))
        self._over_limit = over_limit
        return feeds[:room]

    def _room(self) -> int:
        """Return how many more chat groups this connection may receive. Its user's own feed doesn't count."""
        limit = conf.get().groups_per_connection or sys.maxsize
        return max(0, limit + 1 - len(self._hub.feeds_of(self)))

    def _unsubscribe(self, feed: str) -> None:
        """Unsubscribe because the user is no longer in the chat group of this feed, and tell the client."""
        self._hub.unsubscribe(self, feed)
        self._on_removed(group_of(feed))
        self._client.write(GroupLeft(group_of(feed)))

    # What the hub reports

    def feed_reset(self, feed: str, position: Position) -> bool:
        """Send `feed_reset` with the new position; return False for a chat group, so that the hub unsubscribes it.

        The lost publications may include a removal. The connection is subscribed again once the chat service has
        confirmed the membership.
        """
        self._client.write(FeedReset(feed, position.epoch, position.offset))
        group_id = group_of(feed)
        if not group_id:
            self.membership.refresh_in_background()
            return True
        self._resume.remember_position(feed, position)
        self._waiting[group_id] = self.membership.answers
        self.membership.removed(group_id)
        return False

    def removed_from_feed(self, feed: str, position: Position) -> None:
        """Tell the client that its user was removed; if the user is added again, it resumes from this position."""
        group_id = group_of(feed)
        self._left.discard(group_id)
        self._on_removed(group_id)
        self._resume.remember_position(feed, position)
        self._client.write(GroupLeft(group_id))

    def access_changed(self, feed: str) -> None:
        """Read the user's chat groups again."""
        self.membership.refresh_in_background()

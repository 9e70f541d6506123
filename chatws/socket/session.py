"""What an authenticated connection may do: its user's groups, which of them it hears, its place in their feeds.

Handlers see the connection only through this; it returns frames and writes none but those that nobody asked for.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import UNSET, UnsetType

from chatws.chat_service.port import RETRY_AFTER_SECONDS, ChatServiceError, Refused, Unsupported
from chatws.exceptions import FrameError
from chatws.membership.membership import Membership, feeds_of
from chatws.messaging.history import history
from chatws.messaging.typing import Typist
from chatws.protocol import codec
from chatws.protocol.frames import (
    AuthSuccess,
    Error,
    FeedPlace,
    GroupJoined,
    GroupLeft,
    History,
    MessageRead,
    PresentUser,
    PresentUsers,
    ResumePoint,
    SendMessage,
    ServerData,
    UserTyping,
)  # fmt: skip
from chatws.services import Services
from realtime import conf
from realtime.auth.principal import Principal
from realtime.connection.outbox import Outbox
from realtime.exceptions import FeedUnavailable, RedisUnavailable
from realtime.feeds.log import Position
from realtime.feeds.names import group_feed, user_feed
from realtime.hub.resume import MOST_BYTES_IN_ALL, Joined, Resume
from realtime.hub.subscription import Subscriber
from realtime.observability import metrics

HEARTBEAT_SECONDS = 25


@dataclass(frozen=True, slots=True)
class Tail:
    """What a connection missed, maybe nothing: ready frames, written behind the answer and before whatever came while
    the outbox was held for it. Only an answer with a tail ends the hold."""

    frames: Sequence[bytes]


Answer = ServerData | Tail


class Connection(Subscriber, Protocol):
    """The socket under a session."""

    connection_id: str
    principal: Principal | None
    outbox: Outbox

    async def authenticate(self, token: str) -> Principal:
        """The principal of a token that counts; raises `AuthenticationError` or `TransientError`."""

    def renew(self, principal: Principal) -> None:
        """Live until this token expires."""

    def write(self, data: ServerData, message_id: str = "") -> None:
        """Send one frame."""

    def answer(self, answers: Sequence[Answer], message_id: str = "") -> None:
        """Send frames; with a `Tail` among them that too, and what the outbox held back for it."""


class Session:
    """An authenticated connection."""

    def __init__(
        self, connection: Connection, principal: Principal, membership: Membership, services: Services
    ) -> None:
        self._connection = connection
        self._services = services
        self._hub = services.node.hub
        self._membership = membership
        self._joining = asyncio.Lock()
        self.starting = True
        """Until the first answer about the user's groups: its changes are part of the start."""
        self._left: set[str] = set()
        """Groups that the client chose not to hear."""
        self._over: list[str] = []
        """Feeds that the client was told can't be heard here."""
        self._resume = Resume()
        self._first = principal
        self.user_id = principal.user_id
        self._typist: Typist | None = None

    @property
    def principal(self) -> Principal:
        """The user, as the latest token says."""
        return self._connection.principal or self._first

    async def start(self, resume: dict[str, ResumePoint] | None) -> Sequence[Answer]:
        """Hear the user's feed, then its groups' feeds; the frames that say so, and the tails.

        What is published meanwhile waits behind these frames: the outbox is held until they are written.

        Raises:
            FeedUnavailable: Redis is away.
        """
        self._connection.outbox.hold()
        self._resume.points = {feed: Position(point.epoch, point.offset) for feed, point in (resume or {}).items()}
        joined = await self._hub.join(self._connection, [user_feed(self.user_id)], self._resume)
        if not joined:
            raise FeedUnavailable("Redis did not answer in time")
        failure: list[ServerData] = []
        async with self._joining:
            try:
                await self._membership.current()
            except ChatServiceError as error:
                failure = [Error(503, str(error), reason="groups_unavailable", retry_after=1)]
                self.starting = False
                self._membership.follow()
                groups: list[str] = []
            else:
                self.starting = False
                joined += await self._join_all()
                groups = sorted(self._membership.groups or ())
        places = [FeedPlace(j.feed, j.position.epoch, j.position.offset, _recovered(j)) for j in joined]
        return [self.welcome(groups, places), *failure, _tail(joined)]

    def welcome(self, groups: list[str], feeds: list[FeedPlace] | None = None) -> AuthSuccess:
        """The answer to an accepted token; without ``feeds`` for one that only renews."""
        return AuthSuccess(
            user_id=str(self.user_id),
            connection_id=self._connection.connection_id,
            expires_at=self.principal.expires_at,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            groups=groups,
            feeds=UNSET if feeds is None else feeds,
        )

    async def authenticate(self, token: str) -> Principal:
        """The principal of a token that counts; raises `AuthenticationError` or `TransientError`."""
        return await self._connection.authenticate(token)

    def renew(self, principal: Principal) -> AuthSuccess:
        """Live on until this token of the same user expires."""
        self._connection.renew(principal)
        return self.welcome(sorted(self._membership.groups or ()))

    async def require_member(self, group_id: str) -> None:
        """Return if the user is in the chat group now.

        Raises:
            FrameError: 403, it isn't; 503, the chat service can't say.
        """
        if not await self._membership.is_member(group_id):
            raise FrameError(403, f"data.group_id: not a member of {group_id}")

    async def send(self, frame: SendMessage) -> str:
        """Store a message; its id. Raises what `Sender.send` raises."""
        try:
            return await self._services.sender.send(self.principal, frame)
        except Refused as error:
            if error.membership_may_have_ended:
                self._membership.invalidate()
            raise

    async def mark_read(self, group_id: str, message_id: str) -> None:
        """Keep how far the user has read, where the chat service can, and tell the group, unless it had read further.

        Raises:
            ChatServiceError: the chat service refused it or can't be reached.
        """
        try:
            stands_at = await self._services.chat.mark_read(self.user_id, group_id, message_id)
        except Unsupported:
            stands_at = message_id
        if stands_at == message_id:
            self._tell(group_id, MessageRead(group_id, self.user_id, message_id))

    def typing(self, group_id: str, *, typing: bool) -> None:
        """Tell the others of a chat group; raises `FrameError` 429."""
        if self._typist is None:
            self._typist = Typist(self._tell_typing)
        self._typist.set(group_id, typing=typing)

    async def presence(self, group_id: str) -> PresentUsers:
        """Who of a chat group is online. Raises `ChatServiceError`, or `FrameError` 503: Redis is away."""
        try:
            users = await self._services.presence.of(group_id)
        except RedisUnavailable as error:
            raise FrameError(503, f"Redis can't be reached: {error}", retry_after=RETRY_AFTER_SECONDS) from error
        return PresentUsers(group_id, [PresentUser(user.user_id, user.connections, user.last_seen) for user in users])

    async def history(self, group_id: str, before_id: str, limit: int) -> History:
        """What was said in a chat group before a message, newest first; raises `ChatServiceError`."""
        return await history(self._services.chat, self._services.names, group_id, before_id, limit)

    def end(self) -> None:
        """The connection is gone."""
        if self._typist is not None:
            self._typist.end_all()

    async def hear(self, group_id: str, point: ResumePoint | None) -> Sequence[Answer]:
        """Let this connection hear a chat group of its user; the outbox is held until the answer is written."""
        await self.require_member(group_id)
        feed, outbox = group_feed(group_id), self._connection.outbox
        if feed not in self._hub.feeds_of(self._connection) and not self._room():
            metrics.refusals.labels("groups").inc()
            raise FrameError(429, "data.group_id: no more groups can be heard here", reason="groups_limit")
        self._left.discard(group_id)
        resume = None
        if point is not None:
            resume = Resume({feed: Position(point.epoch, point.offset)}, bytes=MOST_BYTES_IN_ALL - outbox.tail_size)
        async with self._joining:
            outbox.hold()
            try:
                joined = await self._hub.join(self._connection, [feed], resume)
            except BaseException:
                outbox.release()
                raise
        if joined:
            return [_joined(joined[0]), _tail(joined)]
        outbox.release()
        await self.require_member(group_id)
        raise FeedUnavailable("the feed can't be heard now")

    def unsubscribe_group(self, group_id: str) -> GroupLeft:
        """From now on nothing of this chat group reaches the connection."""
        self._left.add(group_id)
        self._membership.mark_incomplete()
        self._hub.leave(self._connection, group_feed(group_id))
        return GroupLeft(group_id)

    async def reconcile(self) -> None:
        """Subscribe to what the user's membership says, unsubscribe from the rest; tell the client of each change."""
        async with self._joining:
            groups = self._membership.groups
            if groups is None:
                return
            for feed in sorted(self._hub.feeds_of(self._connection)):
                if _group_of(feed) and _group_of(feed) not in groups:
                    self._leave(feed)
            self._connection.outbox.hold()
            try:
                joined = await self._join_all()
            except BaseException:
                self._connection.outbox.release()
                raise
            self._connection.answer([*map(_joined, joined), _tail(joined)])

    def dropped(self, feed: str, position: Position) -> None:
        """The user was removed from a chat group: whoever joins it again hears it again, from there."""
        self._left.discard(_group_of(feed))
        if self._typist is not None:
            self._typist.end(_group_of(feed))
        self._resume.remember_position(feed, position)
        self._connection.write(GroupLeft(_group_of(feed)))

    def feed_reset(self, feed: str, position: Position) -> bool:
        """A removal may have been among what was lost: a chat group is heard again once the chat service says so."""
        group_id = _group_of(feed)
        if not group_id:
            self._membership.follow()
            return True
        self._resume.remember_position(feed, position)
        self._membership.removed(group_id)
        return False

    def follow(self) -> None:
        """The user's groups may have changed."""
        self._membership.follow()

    def _tell_typing(self, group_id: str, typing: bool) -> None:
        self._tell(group_id, UserTyping(group_id, self.user_id, typing), besides=self.user_id)

    def _tell(self, group_id: str, data: ServerData, besides: int = 0) -> None:
        self._hub.ephemeral.tell(group_feed(group_id), codec.encode(data), besides)

    def _room(self) -> int:
        """How many more groups this connection may hear; its user's feed isn't one."""
        most = conf.get().groups_per_connection or sys.maxsize
        return max(0, most + 1 - len(self._hub.feeds_of(self._connection)))

    async def _join_all(self) -> list[Joined]:
        """Join every group of the user that isn't heard yet; those alone are answered.

        Some may be left again by then: their tails and what came behind them go out all the same, then `group_left`.
        """
        wanted = (self._membership.groups or frozenset()) - self._left
        heard = self._hub.feeds_of(self._connection)
        feeds = [feed for feed in feeds_of(wanted) if feed not in heard]
        most = self._room()
        feeds, over = feeds[:most], feeds[most:]
        if over and over != self._over:
            metrics.refusals.labels("groups").inc()
            self._connection.write(Error(429, f"only {most} more groups can be heard here", reason="groups_limit"))
        self._over = over
        points = self._resume.points = {
            feed: self._resume.points[feed] for feed in feeds if feed in self._resume.points
        }
        joined = await self._hub.join(self._connection, feeds, self._resume)
        heard, present = self._hub.feeds_of(self._connection), self._membership.groups or frozenset()
        for feed in [one.feed for one in joined if one.feed in heard]:
            points.pop(feed, None)
            if _group_of(feed) not in present:  # what came meanwhile waits behind its tail
                self._leave(feed)
        if not heard.issuperset(feeds):
            self._membership.follow()
        return joined

    def _leave(self, feed: str) -> None:
        """The user is no longer in the chat group of this feed."""
        self._hub.leave(self._connection, feed)
        self._connection.write(GroupLeft(_group_of(feed)))


def _group_of(feed: str) -> str:
    """The chat group of a feed; empty for a user's."""
    kind, _, group_id = feed.partition(":")
    return group_id if kind == "group" else ""


def _recovered(joined: Joined) -> bool | UnsetType:
    return joined.tail is not None if joined.resumed else UNSET


def _tail(joined: Sequence[Joined]) -> Tail:
    return Tail([frame for one in joined for frame in one.tail or ()])


def _joined(joined: Joined) -> GroupJoined:
    position = joined.position
    return GroupJoined(_group_of(joined.feed), joined.feed, position.epoch, position.offset, _recovered(joined))

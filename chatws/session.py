"""What an authenticated connection may do: its user's groups, which of them it hears, its place in their feeds.

Handlers see the connection only through this; it returns frames and writes none but those that nobody asked for.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from msgspec import UNSET

from chatws.exceptions import FrameError
from chatws.frames import AuthSuccess, Error, FeedPlace, GroupJoined, GroupLeft, ResumePoint, ServerData
from chatws.membership import Membership, feeds_of
from chatws.rpc.gateway import ChatGateway, ChatServiceError
from realtime.auth import Principal
from realtime.feeds import Position
from realtime.groups import group_feed, user_feed
from realtime.heard import Member
from realtime.hub import Hub
from realtime.outbox import Outbox

HEARTBEAT_SECONDS = 25


class Connection(Member, Protocol):
    """The socket under a session."""

    connection_id: str
    principal: Principal | None
    outbox: Outbox

    def renew(self, principal: Principal) -> None:
        """Live until this token expires."""

    def write(self, data: ServerData, message_id: str = "") -> None:
        """Send one frame."""


class Session:
    """An authenticated connection."""

    def __init__(
        self, connection: Connection, principal: Principal, membership: Membership, hub: Hub, chat: ChatGateway
    ) -> None:
        self._connection = connection
        self._hub = hub
        self._membership = membership
        self._joining = asyncio.Lock()
        self._left: set[str] = set()
        """Groups that the client chose not to hear."""
        self._first = principal
        self.user_id = principal.user_id
        self.chat = chat

    @property
    def principal(self) -> Principal:
        """The user, as the latest token says."""
        return self._connection.principal or self._first

    async def start(self, resume: dict[str, ResumePoint] | None) -> Sequence[ServerData]:
        """Hear the user's feed, then its groups' feeds; the frames that say so.

        What is published meanwhile waits behind these frames: the outbox is held until they are written.

        Raises:
            FeedUnavailable: Redis is away.
        """
        self._connection.outbox.hold()
        places = await self._hub.join(self._connection, [user_feed(self.user_id)])
        failure: list[ServerData] = []
        async with self._joining:
            try:
                await self._membership.ask()
            except ChatServiceError as error:
                failure = [Error(503, str(error), reason="groups_unavailable", retry_after=1)]
                self._membership.follow()
                groups: list[str] = []
            else:
                places += await self._join_all()
                groups = sorted(self._membership.groups or ())
        return [self.welcome(groups, [_place(feed, position, resume) for feed, position in places]), *failure]

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

    def renew(self, principal: Principal) -> AuthSuccess:
        """Live on until this token of the same user expires."""
        self._connection.renew(principal)
        return self.welcome(sorted(self._membership.groups or ()))

    async def require_member(self, group_id: str) -> None:
        """Return if the user is in the chat group now.

        Raises:
            FrameError: 403, it isn't; 503, the chat service can't say.
        """
        if not await self._membership.knows(group_id):
            raise FrameError(403, f"data.group_id: not a member of {group_id}")

    async def hear(self, group_id: str, resume: ResumePoint | None) -> GroupJoined:
        """Let this connection hear a chat group of its user."""
        await self.require_member(group_id)
        self._left.discard(group_id)
        async with self._joining:
            places = await self._hub.join(self._connection, [group_feed(group_id)])
        if not places:
            raise FrameError(403, f"data.group_id: not a member of {group_id}")
        return _joined(*places[0], resume)

    def unhear(self, group_id: str) -> GroupLeft:
        """From now on nothing of this chat group reaches the connection."""
        self._left.add(group_id)
        self._hub.leave(self._connection, group_feed(group_id))
        return GroupLeft(group_id)

    async def reconcile(self) -> None:
        """Hear what the user's membership says now, and tell the client of each change."""
        async with self._joining:
            groups = self._membership.groups
            if groups is None:
                return
            for feed in sorted(self._hub.feeds_of(self._connection)):
                kind, _, group_id = feed.partition(":")
                if kind == "group" and group_id not in groups:
                    self._hub.leave(self._connection, feed)
                    self._connection.write(GroupLeft(group_id))
            for feed, position in await self._join_all():
                self._connection.write(_joined(feed, position, None))

    def dropped(self, group_id: str) -> None:
        """The user was removed from a chat group: whoever joins it again hears it again."""
        self._left.discard(group_id)
        self._connection.write(GroupLeft(group_id))

    def follow(self) -> None:
        """The user's groups may have changed."""
        self._membership.follow()

    async def _join_all(self) -> list[tuple[str, Position]]:
        """Join every group of the user that isn't heard yet; those alone are answered."""
        wanted = (self._membership.groups or frozenset()) - self._left
        heard = self._hub.feeds_of(self._connection)
        places = await self._hub.join(self._connection, [feed for feed in feeds_of(wanted) if feed not in heard])
        present = self._membership.groups or frozenset()
        for feed, _ in places:
            if feed.partition(":")[2] not in present:
                self._hub.leave(self._connection, feed)
        return [(feed, position) for feed, position in places if feed.partition(":")[2] in present]


def _place(feed: str, position: Position, resume: dict[str, ResumePoint] | None) -> FeedPlace:
    asked = resume is not None and feed in resume
    return FeedPlace(feed, position.epoch, position.offset, recovered=False if asked else UNSET)


def _joined(feed: str, position: Position, resume: ResumePoint | None) -> GroupJoined:
    recovered = UNSET if resume is None else False
    return GroupJoined(feed.partition(":")[2], feed, position.epoch, position.offset, recovered)

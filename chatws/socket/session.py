"""What an authenticated connection may do: who its user is, whether the user is in a chat group, what it subscribed to.

Handlers get the session with each frame, and call the services themselves.
"""

from collections.abc import Mapping

from msgspec import UNSET

from chatws.exceptions import FrameError
from chatws.messaging.typing import Typist
from chatws.protocol import codec
from chatws.protocol.frames import AuthSuccess, Error, FeedPosition, ResumePoint, ServerData, UserTyping
from chatws.services import Services
from chatws.socket import replies
from chatws.socket.subscriptions import Client, Subscriptions
from realtime.auth.principal import Principal
from realtime.connection.outbox import Reply
from realtime.feeds.names import group_feed

HEARTBEAT_SECONDS = 25
MAX_GROUPS_TOLD = 10_000
"""Most chat groups in `auth_success`: 660 KiB with the longest ids."""


class Session:
    """The user of one connection, and the feeds it receives."""

    __slots__ = ("_first_principal", "_typist", "connection", "membership", "services", "subscriptions", "user_id")

    def __init__(self, connection: Client, principal: Principal, services: Services) -> None:
        self.connection = connection
        self.services = services
        self.user_id = principal.user_id
        self._first_principal = principal
        self._typist: Typist | None = None
        self.subscriptions = Subscriptions(
            connection, self.user_id, services.memberships, services.node.hub, on_removed=self._stop_typing
        )
        self.membership = self.subscriptions.membership

    @property
    def principal(self) -> Principal:
        """The user, as the latest token says."""
        return self.connection.principal or self._first_principal

    async def start(self, points: Mapping[str, ResumePoint], reply: Reply, message_id: str) -> None:
        """Subscribe to the user's feeds; set the reply to `auth_success`, and to what the client missed.

        Raises:
            FeedUnavailable: Redis is unavailable.
        """
        subscribed, failure = await self.subscriptions.start(dict(points))
        groups = [] if failure is not None else self._groups()
        frames: list[ServerData] = [self.auth_success(groups, [replies.feed_position(one) for one in subscribed])]
        if failure is not None:
            frames.append(Error(503, str(failure), reason="groups_unavailable", retry_after=1))
        reply.first, reply.tail = replies.encode(frames, message_id), replies.tail_of(subscribed)

    def _groups(self) -> list[str]:
        """Return the user's chat groups, received or not, as far as they fit into a frame."""
        return sorted(self.membership.known or ())[:MAX_GROUPS_TOLD]

    def renewed(self) -> AuthSuccess:
        """Return the answer to a newer token."""
        return self.auth_success(self._groups())

    def auth_success(self, groups: list[str], feeds: list[FeedPosition] | None = None) -> AuthSuccess:
        """Return the answer to an accepted token, without ``feeds`` for one that only renews."""
        return AuthSuccess(
            user_id=str(self.user_id),
            connection_id=self.connection.connection_id,
            expires_at=self.principal.expires_at,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            groups=groups,
            feeds=UNSET if feeds is None else feeds,
        )

    async def require_member(self, group_id: str) -> None:
        """Return if the user is in the chat group now.

        Raises:
            FrameError: 403, the user is not.
            ChatServiceError: the chat service can't be asked.
            FeedUnavailable: Redis is unavailable.
        """
        if not await self.membership.is_member(group_id):
            raise FrameError(403, f"data.group_id: not a member of {group_id}")

    def broadcast(self, group_id: str, data: ServerData, exclude_user: int = 0) -> None:
        """Send a frame past the log to the present subscribers of a chat group."""
        self.services.node.hub.ephemeral.send(group_feed(group_id), codec.encode(data), exclude_user)

    def set_typing(self, group_id: str, *, typing: bool) -> None:
        """Tell the others of a chat group that the user types, or stopped; raises `FrameError` 429."""
        if self._typist is None:
            self._typist = Typist(self._broadcast_typing)
        self._typist.set(group_id, typing=typing)

    def end(self) -> None:
        """Clean up: the connection has ended."""
        self.subscriptions.end()
        if self._typist is not None:
            self._typist.end_all()

    def _broadcast_typing(self, group_id: str, typing: bool) -> None:
        self.broadcast(group_id, UserTyping(group_id, self.user_id, typing), exclude_user=self.user_id)

    def _stop_typing(self, group_id: str) -> None:
        if self._typist is not None:
            self._typist.end(group_id)

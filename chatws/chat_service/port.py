"""The chat service as the gateway sees it: a protocol, its values, its errors. `grpc_gateway` is the adapter."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from realtime.exceptions import TransientError

PAGE_SIZE = 100
"""Most entries of a page (docs/protocol.md, gRPC)."""
READ_AGAIN = 5
DISBANDED = 2
"""The status of a chat group that is no more."""
REFUSED = 400, 403, 404, 409
OVERLOADED, UNAVAILABLE = 429, 503
UNSUPPORTED = 501
RETRY_AFTER_SECONDS = 2
"""When a client may try again after `OVERLOADED` or `UNAVAILABLE`."""

Item = TypeVar("Item")


class ChatServiceError(Exception):
    """A call to the chat service failed. ``code`` follows HTTP; `error_of` makes the class that fits it.

    ``was_asked``: whether the call may have reached the service.
    """

    retry_after: int | None = None
    """Seconds after which another try may succeed; None if none will."""

    def __init__(self, code: int, message: str, *, was_asked: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.was_asked = was_asked

    @property
    def changed_nothing(self) -> bool:
        """Whether the call certainly had no effect: the service said so, or was not called."""
        return not self.was_asked or self.code == OVERLOADED


class Refused(ChatServiceError):
    """The chat service refused what was asked, and did nothing."""

    changed_nothing = True

    @property
    def membership_may_have_ended(self) -> bool:
        """Whether the reason may be that the user is no longer a member, or that the chat group no longer exists."""
        return self.code != 400


class Unsupported(ChatServiceError):
    """The chat service doesn't have this call. Read cursors are optional."""

    changed_nothing = True


class ChatServiceUnavailable(ChatServiceError, TransientError):
    """The chat service can't be reached, doesn't answer in time, or is overloaded."""

    retry_after = RETRY_AFTER_SECONDS


def error_of(code: int, message: str, *, was_asked: bool = True) -> ChatServiceError:
    """Return the error for a code as HTTP has them."""
    kind = ChatServiceError
    if code in REFUSED:
        kind = Refused
    elif code == UNSUPPORTED:
        kind = Unsupported
    elif code in (OVERLOADED, UNAVAILABLE):
        kind = ChatServiceUnavailable
    return kind(code, message, was_asked=was_asked)


class UserServiceError(Exception):
    """The user service failed or can't be reached."""


@dataclass(frozen=True, slots=True)
class User:
    """A user as the user service knows it; ``avatar`` is an address, or empty."""

    user_id: int
    name: str
    avatar: str


class Users(Protocol):
    """What the gateway asks of the user service."""

    async def users(self, user_ids: Collection[int]) -> Sequence[User]:
        """These users, without those that it doesn't know; raises `UserServiceError`."""

    @property
    def instances(self) -> Sequence[str]:
        """``host:port`` of each instance that is called, where they are looked up."""

    async def state(self) -> str:
        """``ok``, or why the user service can't be used now."""

    async def close(self) -> None:
        """Let go of the connection."""


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A chat group; ``status`` 1 normal, 2 disbanded; ``created_at`` in Unix seconds."""

    group_id: str
    activity_id: int
    name: str
    owner_id: int
    status: int
    max_members: int
    member_count: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Group(GroupInfo):
    """A chat group of a user; times in Unix seconds, ``role`` 1 member, 2 owner."""

    role: int
    joined_at: int
    last_message: str
    last_message_at: int
    cover_url: str
    last_sender_name: str


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message; ``created_at`` in Unix seconds, ``status`` 1 normal or 2 recalled."""

    message_id: str
    group_id: str
    sender_id: int
    sender_name: str
    msg_type: int
    content: str
    image_url: str
    status: int
    created_at: int


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a chat group; ``role`` 1 member, 2 owner; ``joined_at`` in Unix seconds."""

    user_id: int
    group_id: str
    role: int
    joined_at: int


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification of a user; ``is_read`` 0 or 1, ``created_at`` in Unix seconds."""

    notification_id: str
    user_id: int
    type: str
    title: str
    content: str
    is_read: int
    created_at: int


@dataclass(frozen=True, slots=True)
class ReadCursor:
    """How far a user has read a chat group (``message_id`` empty: nothing), and how many messages of others follow."""

    group_id: str
    user_id: int
    message_id: str
    read_at: int
    unread_count: int


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a listing and how many entries there are in all."""

    items: Sequence[Item]
    total: int


@dataclass(frozen=True, slots=True)
class Notifications(Page[Notification]):
    """One page of a user's notifications, and how many are unread in all."""

    unread_count: int


@dataclass(frozen=True, slots=True)
class History:
    """Messages of a chat group, newest first."""

    messages: Sequence[Message]
    has_more: bool


class ChatGateway(Protocol):
    """What the gateway asks of the chat service. Each call has a deadline and raises `ChatServiceError`.

    Pages count from 1. The last three are optional: a service without them answers `Unsupported`.
    """

    async def group_info(self, group_id: str) -> GroupInfo:
        """One chat group; 404 if it isn't there."""

    async def group_members(self, group_id: str, page: int, page_size: int) -> Page[GroupMember]:
        """The members of a chat group."""

    async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Group]:
        """The chat groups a user is in."""

    async def save_message(
        self, *, message_id: str, group_id: str, sender_id: int, msg_type: int, content: str, image_url: str
    ) -> str:
        """Store a message and answer with its id; an id that is stored already changes nothing."""

    async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
        """Messages before one (empty: the newest), newest first."""

    async def offline_messages(self, user_id: int, after_time: int) -> Sequence[Message]:
        """What the user's chat groups said after a time in Unix seconds."""

    async def notifications(self, user_id: int, is_read: int, page: int, page_size: int) -> Notifications:
        """A user's notifications, newest first; ``is_read``: 0 the unread, 1 the read, -1 all."""

    async def unread_notifications(self, user_id: int) -> int:
        """How many notifications of a user are unread."""

    async def mark_notifications_read(self, user_id: int, notification_ids: Sequence[str]) -> int:
        """These have been read; how many of them had not been."""

    async def mark_all_notifications_read(self, user_id: int) -> int:
        """All have been read; how many had not been."""

    async def mark_read(self, user_id: int, group_id: str, message_id: str) -> str:
        """A user has read a chat group up to a message; the message up to which it has, a later one maybe."""

    async def group_cursors(self, group_id: str, user_ids: Sequence[int]) -> Sequence[ReadCursor]:
        """How far some users have read a chat group, without ``unread_count``; who has read nothing is missing."""

    async def user_cursors(self, user_id: int, group_ids: Sequence[str]) -> Sequence[ReadCursor]:
        """How far a user has read each of some chat groups."""

    @property
    def instances(self) -> Sequence[str]:
        """``host:port`` of each instance that is called, where they are looked up."""

    async def state(self) -> str:
        """``ok``, or why the chat service can't be used now."""

    async def close(self) -> None:
        """Let go of the connection."""


async def all_user_group_ids(chat: ChatGateway, user_id: int) -> frozenset[str]:
    """Every chat group that a user is in, but no disbanded one.

    The listing is read again until two readings agree, or one agrees with its total: a page may shift while the next
    is read, and a total may count groups that are never listed.

    Raises:
        ChatServiceError: a page could not be had, or the listing changed under each of several readings (503).
    """
    before: frozenset[str] | None = None
    for _ in range(READ_AGAIN):
        listed, ids, total = await _read_user_groups(chat, user_id)
        if ids == before or listed == total:
            return ids
        before = ids
    raise ChatServiceUnavailable(UNAVAILABLE, f"the groups of user {user_id} kept changing while they were read")


async def _read_user_groups(chat: ChatGateway, user_id: int) -> tuple[int, frozenset[str], int]:
    """One reading of all pages: how many groups are listed, those that aren't disbanded, and the total as told last.

    The last page is one that isn't full, or one that brings nothing new.
    """
    listed: set[str] = set()
    alive: set[str] = set()
    for number in itertools.count(1):
        page = await chat.user_groups(user_id, number, PAGE_SIZE)
        new = {group.group_id for group in page.items} - listed
        listed |= new
        alive |= {group.group_id for group in page.items if group.status != DISBANDED}
        if len(page.items) < PAGE_SIZE or not new:
            break
    return len(listed), frozenset(alive), page.total

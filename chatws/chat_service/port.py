"""Declare what the gateway calls on the chat service: a protocol, its values and its errors.

`chatws.chat_service.grpc` implements it.
"""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from realtime.exceptions import TransientError

PAGE_SIZE = 100
"""The largest page (docs/protocol.md, gRPC)."""
MAX_READINGS = 5
"""How often a listing that changes is read."""
DISBANDED = 2
"""The status of a disbanded chat group."""
NOT_FOUND = 404
REFUSED = 400, 403, NOT_FOUND, 409
OVERLOADED, UNAVAILABLE = 429, 503
UNSUPPORTED = 501
RETRY_AFTER_SECONDS = 2
"""After how many seconds a client may retry after `OVERLOADED` or `UNAVAILABLE`."""

Item = TypeVar("Item")


class ChatServiceError(Exception):
    """A call to the chat service failed. ``code`` follows HTTP; `error_of` returns the class for a code.

    ``was_asked``: whether the call may have reached the service.
    """

    retry_after: int | None = None
    """Seconds after which a retry may succeed; None if no retry will."""

    def __init__(self, code: int, message: str, *, was_asked: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.was_asked = was_asked

    @property
    def changed_nothing(self) -> bool:
        """Return whether the call certainly had no effect: the service said so, or was not called."""
        return not self.was_asked or self.code == OVERLOADED


class Refused(ChatServiceError):
    """The chat service refused the call and changed nothing."""

    changed_nothing = True

    @property
    def membership_may_have_ended(self) -> bool:
        """Return whether the user may no longer be a member, or the chat group may no longer exist."""
        return self.code != 400


class Unsupported(ChatServiceError):
    """The chat service does not implement this call. Read cursors are optional."""

    changed_nothing = True


class AnswerTooLarge(ChatServiceError):
    """The answer is larger than a call may receive. The call had its effect."""


class ChatServiceUnavailable(ChatServiceError, TransientError):
    """The chat service is unavailable, does not answer in time, or is overloaded."""

    retry_after = RETRY_AFTER_SECONDS


def error_of(code: int, message: str, *, was_asked: bool = True) -> ChatServiceError:
    """Return the error for a code that follows HTTP."""
    kind = ChatServiceError
    if code in REFUSED:
        kind = Refused
    elif code == UNSUPPORTED:
        kind = Unsupported
    elif code in (OVERLOADED, UNAVAILABLE):
        kind = ChatServiceUnavailable
    return kind(code, message, was_asked=was_asked)


class UserServiceError(Exception):
    """The user service failed or is unavailable."""


@dataclass(frozen=True, slots=True)
class User:
    """A user of the user service; ``avatar`` is a URL, or empty."""

    user_id: int
    name: str
    avatar: str


class Users(Protocol):
    """What the gateway calls on the user service."""

    async def users(self, user_ids: Collection[int]) -> Sequence[User]:
        """Return these users, without unknown ones; raise `UserServiceError`."""

    @property
    def instances(self) -> Sequence[str]:
        """Return ``host:port`` of each instance that is called; empty if the setting lists IP addresses."""

    async def state(self) -> str:
        """Return ``ok``, or why the user service is unavailable."""

    async def close(self) -> None:
        """Close the connection."""


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
    """How far a user has read a chat group, and how many messages of others follow; no ``message_id``: nothing read."""

    group_id: str
    user_id: int
    message_id: str
    read_at: int
    unread_count: int


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a listing, and the total number of entries."""

    items: Sequence[Item]
    total: int


@dataclass(frozen=True, slots=True)
class Notifications(Page[Notification]):
    """One page of a user's notifications, and the total number of unread ones."""

    unread_count: int


@dataclass(frozen=True, slots=True)
class History:
    """Messages of a chat group, newest first."""

    messages: Sequence[Message]
    has_more: bool


class ChatGateway(Protocol):
    """What the gateway calls on the chat service. Each call has a deadline and raises `ChatServiceError`.

    Pages count from 1. Read cursors (the last three calls) are optional: without them a call raises `Unsupported`.
    """

    async def group_info(self, group_id: str) -> GroupInfo:
        """Return a chat group; raise 404 if it does not exist."""

    async def group_members(self, group_id: str, page: int, page_size: int) -> Page[GroupMember]:
        """Return one page of a chat group's members."""

    async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Group]:
        """Return one page of the chat groups that a user is in."""

    async def save_message(
        self, *, message_id: str, group_id: str, sender_id: int, msg_type: int, content: str, image_url: str
    ) -> str:
        """Store a message and return its id; an id that is already stored changes nothing."""

    async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
        """Return the messages before ``before_id`` (empty: the newest messages), newest first."""

    async def offline_messages(self, user_id: int, after_time: int) -> Sequence[Message]:
        """Return the messages of the user's chat groups after a time in Unix seconds."""

    async def notifications(self, user_id: int, is_read: int, page: int, page_size: int) -> Notifications:
        """Return a user's notifications, newest first; ``is_read``: 0 unread, 1 read, -1 all."""

    async def unread_notifications(self, user_id: int) -> int:
        """Return how many notifications of a user are unread."""

    async def mark_notifications_read(self, user_id: int, notification_ids: Sequence[str]) -> int:
        """Mark these notifications read; return how many were unread before."""

    async def mark_all_notifications_read(self, user_id: int) -> int:
        """Mark all notifications of a user read; return how many were unread before."""

    async def mark_read(self, user_id: int, group_id: str, message_id: str) -> str:
        """Record that a user has read a chat group up to a message; return the cursor, which may be a later message."""

    async def group_cursors(self, group_id: str, user_ids: Sequence[int]) -> Sequence[ReadCursor]:
        """Return some users' cursors in a chat group, without ``unread_count``; users who read nothing are missing."""

    async def user_cursors(self, user_id: int, group_ids: Sequence[str]) -> Sequence[ReadCursor]:
        """Return how far a user has read some chat groups."""

    @property
    def instances(self) -> Sequence[str]:
        """Return ``host:port`` of each instance that is called; empty if the setting lists IP addresses."""

    async def state(self) -> str:
        """Return ``ok``, or why the chat service is unavailable."""

    async def close(self) -> None:
        """Close the connection."""


async def all_user_group_ids(chat: ChatGateway, user_id: int) -> frozenset[str]:
    """Return the ids of all chat groups that a user is in, without disbanded ones.

    The listing is read until two readings agree, or one reading agrees with the total of each of its pages: groups may
    move between pages during a reading, and a total may count groups that are not listed.

    Raises:
        ChatServiceError: a page could not be read, or the listing changed during each of `MAX_READINGS` readings (503).
    """
    before: frozenset[str] | None = None
    for _ in range(MAX_READINGS):
        listed, ids, totals = await _read_user_groups(chat, user_id)
        if ids == before or totals == {listed}:
            return ids
        before = ids
    raise ChatServiceUnavailable(UNAVAILABLE, f"the groups of user {user_id} kept changing while they were read")


async def _read_user_groups(chat: ChatGateway, user_id: int) -> tuple[int, frozenset[str], set[int]]:
    """Read all pages once; return the number of listed groups, the groups that are not disbanded, and all totals.

    A page is the last one if it is not full or has no new group.
    """
    listed: set[str] = set()
    alive: set[str] = set()
    totals: set[int] = set()
    for number in itertools.count(1):
        page = await chat.user_groups(user_id, number, PAGE_SIZE)
        totals.add(page.total)
        new = {group.group_id for group in page.items} - listed
        listed |= new
        alive |= {group.group_id for group in page.items if group.status != DISBANDED}
        if len(page.items) < PAGE_SIZE or not new:
            break
    return len(listed), frozenset(alive), totals

"""The chat service as the gateway sees it: a protocol, its values, its errors. `grpc_gateway` is the adapter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

PAGE_SIZE = 100
"""Most entries of a page (docs/protocol.md, gRPC)."""
READ_AGAIN = 5
DISBANDED = 2
"""The status of a chat group that is no more."""

Item = TypeVar("Item")


class ChatServiceError(Exception):
    """The chat service refused, failed or can't be reached. ``code`` follows HTTP; 503 is worth another try."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Group:
    """A chat group of a user; times in Unix seconds. ``status``: 1 normal, 2 disbanded; ``role``: 1 member, 2 owner."""

    group_id: str
    activity_id: int
    name: str
    owner_id: int
    status: int
    max_members: int
    member_count: int
    created_at: int
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
class Page(Generic[Item]):
    """One page of a listing and how many entries there are in all."""

    items: Sequence[Item]
    total: int


@dataclass(frozen=True, slots=True)
class History:
    """Messages of a chat group, newest first."""

    messages: Sequence[Message]
    has_more: bool


class ChatGateway(Protocol):
    """What the gateway asks of the chat service. Each call has a deadline and raises `ChatServiceError`."""

    async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Group]:
        """The chat groups a user is in; pages count from 1."""

    async def save_message(
        self, *, message_id: str, group_id: str, sender_id: int, msg_type: int, content: str, image_url: str
    ) -> str:
        """Store a message and answer with its id; an id that is stored already changes nothing."""

    async def message_history(self, group_id: str, before_id: str, limit: int) -> History:
        """Messages before one (empty: the newest), newest first."""

    async def state(self) -> str:
        """``ok``, or why the chat service can't be used now."""

    async def close(self) -> None:
        """Let go of the connection."""


async def all_user_group_ids(chat: ChatGateway, user_id: int) -> frozenset[str]:
    """Every chat group that a user is in, read page by page until the pages agree with their total; no disbanded one.

    Raises:
        ChatServiceError: a page could not be had, or the listing changed under each of several readings (503).
    """
    for _ in range(READ_AGAIN):
        ids: set[str] = set()
        disbanded: set[str] = set()
        number = 1
        while True:
            page = await chat.user_groups(user_id, number, PAGE_SIZE)
            ids.update(group.group_id for group in page.items)
            disbanded.update(group.group_id for group in page.items if group.status == DISBANDED)
            if len(page.items) == 0 or number * PAGE_SIZE >= page.total:
                break
            number += 1
        if len(ids) == page.total:
            return frozenset(ids - disbanded)
    raise ChatServiceError(503, f"the groups of user {user_id} kept changing while they were read")

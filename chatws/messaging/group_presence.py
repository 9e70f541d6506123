"""Return which members of a chat group are online: members from the chat service, presence from Redis.

One object serves all connections of a process. It looks at `MAX_MEMBERS` members at most and caches them, so a large
chat group costs a bounded number of calls.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from chatws.chat_service.port import PAGE_SIZE, ChatGateway
from realtime.aio import tasks
from realtime.presence.presence import Presence, UserPresence

MAX_MEMBERS = 500
CACHE_SECONDS = 3.0
"""How long a chat group's members are cached."""


@dataclass(frozen=True, slots=True)
class Present:
    """Members of a chat group, at most `MAX_MEMBERS`, and how many there are in all."""

    users: Sequence[UserPresence]
    total: int


class GroupPresence:
    """The presence of chat groups' members."""

    def __init__(self, chat: ChatGateway, presence: Presence) -> None:
        self._chat = chat
        self._presence = presence
        self._members: dict[str, asyncio.Task[tuple[list[int], int]]] = {}

    async def of(self, group_id: str) -> Present:
        """Return the first `MAX_MEMBERS` members of a chat group: online users first, then the most recently seen.

        Raises:
            ChatServiceError: the chat service did not return the members.
            RedisUnavailable: Redis did not return their presence.
        """
        fetch = self._members.get(group_id)
        if fetch is None:
            fetch = self._members[group_id] = tasks.start(self._fetch(group_id), "fetching a chat group's members")
            fetch.add_done_callback(lambda task: self._fetched(group_id, task))
        members, total = await asyncio.shield(fetch)
        users = await self._presence.of_users(members)
        users.sort(key=lambda user: (-min(user.connections, 1), -user.last_seen, user.user_id))
        return Present(users, total)

    async def _fetch(self, group_id: str) -> tuple[list[int], int]:
        """Return the ids of the first members, and how many members there are."""
        first = await self._chat.group_members(group_id, 1, PAGE_SIZE)
        last_page = -(-min(first.total, MAX_MEMBERS) // PAGE_SIZE)
        rest = await asyncio.gather(
            *(self._chat.group_members(group_id, page, PAGE_SIZE) for page in range(2, last_page + 1))
        )
        members = list(dict.fromkeys(member.user_id for page in (first, *rest) for member in page.items))[:MAX_MEMBERS]
        return members, max(first.total, len(members))

    def _fetched(self, group_id: str, task: asyncio.Task[tuple[list[int], int]]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._members[group_id]
        else:
            asyncio.get_running_loop().call_later(CACHE_SECONDS, self._members.pop, group_id)

"""Who of a chat group is online, for all connections of a process: members by the chat service, presence by Redis.

A large group costs no more than `MAX_MEMBERS`: so many are looked at, and they are asked for once in a while.
"""

import asyncio
from collections.abc import Sequence

from chatws.chat_service.port import PAGE_SIZE, ChatGateway
from realtime.aio import tasks
from realtime.presence.presence import Presence, UserPresence

MAX_MEMBERS = 500
KEPT_SECONDS = 3.0
"""How long a group's members are not asked for again."""


class GroupPresence:
    """The presence of chat groups' members."""

    def __init__(self, chat: ChatGateway, presence: Presence) -> None:
        self._chat = chat
        self._presence = presence
        self._members: dict[str, asyncio.Task[list[int]]] = {}

    async def of(self, group_id: str) -> Sequence[UserPresence]:
        """The first `MAX_MEMBERS` of a chat group, those online first, then who was seen last.

        Raises:
            ChatServiceError: the members can't be had.
            RedisUnavailable: nor can their presence.
        """
        asking = self._members.get(group_id)
        if asking is None:
            asking = self._members[group_id] = tasks.start(self._ask(group_id), "asking for a group's members")
            asking.add_done_callback(lambda task: self._answered(group_id, task))
        users = await self._presence.of_users(await asyncio.shield(asking))
        return sorted(users, key=lambda user: (-min(user.connections, 1), -user.last_seen, user.user_id))

    async def _ask(self, group_id: str) -> list[int]:
        first = await self._chat.group_members(group_id, 1, PAGE_SIZE)
        last_page = -(-min(first.total, MAX_MEMBERS) // PAGE_SIZE)
        rest = await asyncio.gather(
            *(self._chat.group_members(group_id, page, PAGE_SIZE) for page in range(2, last_page + 1))
        )
        return list(dict.fromkeys(member.user_id for page in (first, *rest) for member in page.items))

    def _answered(self, group_id: str, task: asyncio.Task[list[int]]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._members[group_id]
        else:
            asyncio.get_running_loop().call_later(KEPT_SECONDS, self._members.pop, group_id)

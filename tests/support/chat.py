"""Call the chat service over gRPC, as its other clients do."""

import asyncio
import itertools
import json
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import redis.asyncio as aioredis

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import ext_pb2 as ext
from chatws.chat_service.pb.chat_pb2_grpc import ChatServiceStub
from chatws.chat_service.pb.ext_pb2_grpc import ReadCursorsStub
from realtime.relay.watermill import encode
from tests.support.waiting import LOOK_SECONDS, until_answer

_users = itertools.count(10**9 + secrets.randbelow(10**12))  # `random` would repeat them in each process
AGAIN = {
    "maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "3s", "backoffMultiplier": 3,
    "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
}  # fmt: skip
CALLS_WAIT = json.dumps({"methodConfig": [{"name": [{}], "waitForReady": True, "retryPolicy": AGAIN}]})
"""Calls wait for a starting service instead of failing during the channel's back-off. They are repeated if the service
is overloaded: the Go platform's services reject calls while the processor is busy."""


def new_user() -> int:
    """Return a user id that no other test uses."""
    return next(_users)


class Chat:
    """A client of the reference chat service."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=[("grpc.service_config", CALLS_WAIT)])
        self._stub = ChatServiceStub(self._channel)
        self.ext = ReadCursorsStub(self._channel)

    @property
    def stub(self) -> Any:
        """Return the chat service's methods."""
        return self._stub

    async def close(self) -> None:
        await self._channel.close()

    async def group(self, owner: int, *members: int, name: str = "a group") -> str:
        """Create a chat group with these members and return its id."""
        made = await self.stub.CreateGroup(pb.CreateGroupReq(name=name, owner_id=owner))
        for member in members:
            await self.add(made.group_id, member)
        return str(made.group_id)

    async def add(self, group_id: str, user_id: int) -> None:
        await self.stub.AddGroupMember(pb.AddGroupMemberReq(group_id=group_id, user_id=user_id))

    async def remove(self, group_id: str, user_id: int, operator: int) -> None:
        request = pb.RemoveGroupMemberReq(group_id=group_id, user_id=user_id, operator_id=operator)
        await self.stub.RemoveGroupMember(request)

    async def disband(self, group_id: str, owner: int) -> None:
        await self.stub.DisbandGroup(pb.DisbandGroupReq(group_id=group_id, operator_id=owner))

    async def say(
        self, group_id: str, sender: int, text: str, message_id: str | None = None, image_url: str = ""
    ) -> None:
        """Store a message. A known id is not stored again, so each message gets a new id unless one is given."""
        request = pb.SaveMessageReq(
            message_id=message_id or str(uuid.uuid4()), group_id=group_id, sender_id=sender,
            msg_type=2 if image_url else 1, content=text, image_url=image_url,
        )  # fmt: skip
        await self.stub.SaveMessage(request)

    async def notify(self, user_id: int, title: str) -> str:
        """Create a notification and return its id."""
        request = pb.CreateNotificationReq(user_id=user_id, type="news", title=title, content="of the day")
        return str((await self.stub.CreateNotification(request)).notification_id)

    async def mark_read(self, user_id: int, group_id: str, message_id: str) -> str:
        """Move a read cursor and return its message id."""
        request = ext.MarkReadReq(user_id=user_id, group_id=group_id, message_id=message_id)
        return (await self.ext.MarkRead(request)).message_id

    async def history(self, group_id: str) -> list[str]:
        """Return the contents of a group's messages, oldest first."""
        answer = await self.stub.GetMessageHistory(pb.GetMessageHistoryReq(group_id=group_id, limit=100))
        return [message.content for message in reversed(answer.messages)]

    async def all_messages(self, group_id: str) -> dict[str, int]:
        """Return when each message of a group was stored (Unix seconds), by id, newest first.

        Some services treat an id as its whole second, so pages overlap and no message is left out.
        """
        found: dict[str, int] = {}
        before = ""
        while True:
            request = pb.GetMessageHistoryReq(group_id=group_id, before_id=before, limit=100)
            page = list((await self.stub.GetMessageHistory(request)).messages)
            found |= {one.message_id: one.created_at for one in page if one.message_id not in found}
            if len(page) < 100:
                return found
            later = [one for one in page if one.created_at > page[-1].created_at]
            before = (later or page)[-1].message_id

    async def until_said(self, group_id: str, text: str) -> None:
        """Return once a message is stored."""
        await until_answer(lambda: self.history(group_id), lambda said: text in said, f"{text!r} is stored")


class PlatformChat(Chat):
    """A client of the Go platform's chat service or of its twin; ``target`` returns its current address.

    Members are added and removed by events of the platform's activity service.
    """

    TAKES_SECONDS = 3.0
    """Seconds to wait for an event's effect before the event counts as lost."""

    def __init__(self, target: Callable[[], str], redis_url: str) -> None:
        self._target = target
        self._redis: Any = aioredis.Redis.from_url(redis_url)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._activities: dict[str, int] = {}

    @property
    def stub(self) -> Any:
        """Return the chat service's methods at its current address."""
        target = self._target()
        if target not in self._channels:
            options = [("grpc.service_config", CALLS_WAIT)]
            self._channels[target] = grpc.aio.insecure_channel(target, options=options)
        return ChatServiceStub(self._channels[target])

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        await self._redis.aclose()

    async def group(self, owner: int, *members: int, name: str = "a group") -> str:
        """Create a chat group with these members and return its id."""
        activity = 1 + secrets.randbelow(2**40)
        made = await self.stub.CreateGroup(pb.CreateGroupReq(activity_id=activity, name=name, owner_id=owner))
        for member in members:
            await self.stub.AddGroupMember(pb.AddGroupMemberReq(group_id=made.group_id, user_id=member))
        self._activities[made.group_id] = activity
        return str(made.group_id)

    async def add(self, group_id: str, user_id: int) -> None:
        """Add a member; raise TimeoutError if the event has no effect."""
        await self._happens("activity.member.joined", group_id, user_id, is_in=True)

    async def remove(self, group_id: str, user_id: int, operator: int) -> None:
        """Remove a member; raise TimeoutError if the event has no effect."""
        await self._happens("activity.member.left", group_id, user_id, is_in=False)

    async def disband(self, group_id: str, owner: int) -> None:
        await self._publish("activity.cancelled", activity_id=self._activities[group_id], cancelled_by=owner)

    async def say(
        self, group_id: str, sender: int, text: str, message_id: str | None = None, image_url: str = ""
    ) -> None:
        """Store a message and publish it, as the platform's own WebSocket service does."""
        message_id = message_id or str(uuid.uuid4())
        await super().say(group_id, sender, text, message_id, image_url)
        await self._publish(
            "chat.message.new", message_id=message_id, group_id=group_id, sender_id=sender, sender_name="",
            sender_avatar="", msg_type=2 if image_url else 1, content=text, image_url=image_url,
            created_at=int(time.time()),
        )  # fmt: skip

    async def _publish(self, topic: str, **event: object) -> None:
        await self._redis.xadd(topic, encode(json.dumps(event).encode(), {"topic": topic}))

    async def _happens(self, topic: str, group_id: str, user_id: int, *, is_in: bool) -> None:
        await self._publish(topic, activity_id=self._activities[group_id], user_id=user_id)
        async with asyncio.timeout(self.TAKES_SECONDS):
            while await self._is_in(group_id, user_id) is not is_in:
                await asyncio.sleep(LOOK_SECONDS)

    async def _is_in(self, group_id: str, user_id: int) -> bool:
        answer = await self.stub.GetGroupMembers(pb.GetGroupMembersReq(group_id=group_id, page=1, page_size=100))
        return any(member.user_id == user_id for member in answer.members)

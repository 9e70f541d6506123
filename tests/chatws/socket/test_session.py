"""Check a session between the hub and its outbox: tails precede live frames, whatever happens meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from chatws.membership.membership import Membership
from chatws.protocol.frames import Ack
from chatws.socket.connection import ChatConnection
from chatws.socket.session import Session
from realtime.auth.principal import Principal
from realtime.conf import RealtimeConf
from realtime.connection.asgi_outbox import AsgiOutbox
from realtime.connection.consumer import Connection
from realtime.feeds.publication import DropUser
from tests.support.hub import Listener, World
from tests.support.redis import Redis

FEED, SLOW = "group:g", "group:slow"


class Resuming:
    """The session of user 7, who resumes two feeds: `FEED` is joined again, and the tail of `SLOW` is awaited."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[dict[str, Any]] = []
        self.other = Listener()
        self.membership = Membership(7, None, world.hub, asyncio.Semaphore())  # type: ignore[arg-type]
        self.membership.groups = frozenset({"g", "slow"})
        memberships = SimpleNamespace(enter=lambda user_id, listener: self.membership)
        services: Any = SimpleNamespace(node=SimpleNamespace(conf=world.conf, hub=world.hub), memberships=memberships)
        connection = Connection(services.node, partial(ChatConnection, services))
        connection.outbox = AsgiOutbox(self._send, 10_000)
        self.connection = ChatConnection(services, connection)
        session = self.connection.session = Session(self.connection, Principal(user_id=7, expires_at=0), services)
        self.subscriptions = session.subscriptions
        self.goes_on = asyncio.Event()

    async def begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to resume with two missed publications in `FEED` and one in `SLOW`."""
        for feed, missed in ((FEED, 2), (SLOW, 1)):
            [joined] = await self.world.hub.subscribe(self.other, [feed])
            self.subscriptions._resume.remember_position(feed, joined.position)
            for _ in range(missed):
                await self.publish(feed)
        reading, read = asyncio.Event(), self.world.log.tail

        async def tail(feed: str, *rest: Any) -> Any:
            found = await read(feed, *rest)
            if feed == SLOW:
                reading.set()
                await self.goes_on.wait()
            return found

        monkeypatch.setattr(self.world.log, "tail", tail)
        self.subscriptions._is_starting = False
        self.subscriptions.membership_changed()
        await reading.wait()

    async def publish(self, feed: str) -> None:
        """Publish in a feed and return once all connections have received it."""
        before = len(self.other.frames)
        await self.world.publish(feed)
        await self.other.until(lambda: len(self.other.frames) > before)

    async def end(self) -> None:
        joining = self.subscriptions._reconciling.task
        assert joining is not None
        self.goes_on.set()
        await joining

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(json.loads(message["text"]))

    def types(self) -> list[str]:
        return [frame["type"] for frame in self.sent if "type" in frame]

    def offsets(self, feed: str) -> list[int]:
        return [frame["offset"] for frame in self.sent if frame.get("feed") == feed]


@pytest.fixture
async def resuming(redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Resuming]:
    world = World(redis, conf)
    world.hub.start()
    resuming = Resuming(world)
    await resuming.begin(monkeypatch)
    yield resuming
    await world.stop()


async def test_unrelated_answer_keeps_live_frames_behind_the_tail(resuming: Resuming) -> None:
    await resuming.publish(FEED)
    resuming.connection.write(Ack("m-1"), "c-1")
    await resuming.end()
    assert resuming.types() == ["group_joined", "group_joined", "ack"]
    assert resuming.offsets(FEED) == [1, 2, 3]


async def test_user_removed_during_resume_receives_up_to_removal(resuming: Resuming) -> None:
    def drop(user_id: int, feed: str) -> None:
        resuming.membership.groups = frozenset({"slow"})
        resuming.subscriptions.membership_changed()

    listener: Any = SimpleNamespace(user_removed=drop)
    resuming.world.hub.listen(listener)
    await resuming.publish(FEED)
    await resuming.world.publish(FEED, DropUser(7))
    await resuming.other.until(lambda: resuming.membership.groups == frozenset({"slow"}))
    await resuming.publish(FEED)
    await resuming.end()
    assert resuming.offsets(FEED) == [1, 2, 3, 4]
    assert resuming.offsets(SLOW) == [1]
    assert resuming.types() == ["group_joined", "group_joined", "group_left"]


async def test_membership_lost_during_resume_ends_the_feed(resuming: Resuming) -> None:
    await resuming.publish(FEED)
    resuming.membership.groups = frozenset({"slow"})  # the lookup finds it; no removal was received
    resuming.subscriptions.membership_changed()
    await resuming.end()
    assert FEED not in resuming.world.hub.feeds_of(resuming.subscriptions)
    await resuming.publish(FEED)
    assert resuming.offsets(FEED) == [1, 2, 3]
    assert resuming.types() == ["group_joined", "group_joined", "group_left"]


async def test_group_added_during_resume_is_subscribed(resuming: Resuming) -> None:
    resuming.membership.groups = frozenset({"g", "slow", "fresh"})
    resuming.subscriptions.membership_changed()
    await resuming.end()
    assert "group:fresh" in resuming.world.hub.feeds_of(resuming.subscriptions)


async def test_user_readded_during_resume_is_subscribed_again(resuming: Resuming) -> None:
    """Subscribe again although the groups are unchanged; a flag once lost this wake-up."""
    await resuming.world.publish(FEED, DropUser(7))
    await resuming.other.until(lambda: FEED not in resuming.world.hub.feeds_of(resuming.subscriptions))
    resuming.subscriptions.membership_changed()  # the lookup finds no change
    await resuming.end()
    assert FEED in resuming.world.hub.feeds_of(resuming.subscriptions)

"""A session between the hub and its outbox: tails come before what is live, whatever else is written meanwhile."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from chatws.consumers import ChatConsumer
from chatws.frames import Ack
from chatws.membership import Membership
from chatws.session import Session
from realtime.auth import Principal
from realtime.conf import RealtimeConf
from realtime.outbox import AsgiOutbox
from realtime.redis import Redis
from tests.support.hub import Listener, World

FEED = "group:g"


async def test_an_answer_to_something_else_does_not_let_live_frames_pass_a_tail(
    redis: Redis, conf: RealtimeConf, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(redis, conf)
    world.hub.start()
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(json.loads(message["text"]))

    node: Any = SimpleNamespace(conf=conf, hub=world.hub, connections={})
    services: Any = SimpleNamespace(node=node)
    consumer = ChatConsumer(services)
    node.connections[consumer.connection_id] = consumer
    consumer.user_id = 7
    consumer.outbox = AsgiOutbox(send, 10_000)
    consumer.deliver = consumer.outbox.write
    membership = Membership(7, None, world.hub, asyncio.Semaphore())  # type: ignore[arg-type]
    membership.groups = frozenset({"g"})
    principal = Principal(user_id=7, expires_at=0)
    session = consumer.session = Session(consumer, principal, membership, services)

    other = Listener()
    [joined] = await world.hub.join(other, [FEED])
    session._resume.leave_off(FEED, joined.position)
    for _ in range(2):
        await world.publish(FEED)
    await other.until(lambda: other.offsets == [1, 2])

    reading, goes_on = asyncio.Event(), asyncio.Event()
    read = world.log.tail

    async def slow(*arguments: Any) -> Any:
        found = await read(*arguments)
        reading.set()
        await goes_on.wait()
        return found

    slow_feed = "group:slow"
    session._resume.leave_off(slow_feed, (await world.hub.join(other, [slow_feed]))[0].position)
    await world.publish(slow_feed)
    await other.until(lambda: len(other.frames) == 3)
    membership.groups = frozenset({"g", "slow"})
    monkeypatch.setattr(world.log, "tail", lambda feed, *rest: (slow if feed == slow_feed else read)(feed, *rest))
    joining = asyncio.create_task(session.reconcile())
    await reading.wait()
    await world.publish(FEED)  # live for who has joined group:g and waits for group:slow
    await other.until(lambda: len(other.frames) == 4)
    consumer.answer([Ack("m-1")], "c-1")
    goes_on.set()
    await joining
    await world.stop()

    assert [frame.get("type") for frame in sent[:2]] == ["group_joined", "group_joined"]
    assert [frame["offset"] for frame in sent if frame.get("feed") == FEED] == [1, 2, 3]
    assert [frame["type"] for frame in sent if frame.get("type") == "ack"] == ["ack"]

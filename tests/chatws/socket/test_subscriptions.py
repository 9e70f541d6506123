"""Check what a connection remembers of the chat groups that its client left, and what a second join answers."""

import json
from collections.abc import AsyncIterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from chatws.protocol.frames import ResumePoint, ServerData
from chatws.socket import replies
from chatws.socket.subscriptions import MAX_LEFT, Subscriptions
from realtime.close_codes import CloseCode
from realtime.conf import RealtimeConf
from realtime.connection.outbox import Outbox
from realtime.feeds.publication import encode_publication
from realtime.hub.batch import Batch
from tests.support.hub import World
from tests.support.redis import Redis


class Recorder(Outbox):
    """An outbox whose socket takes everything."""

    def __init__(self) -> None:
        super().__init__(1_000_000)
        self.sent: list[dict[str, Any]] = []

    def _transmit(self, batch: Batch) -> None:
        self.sent += [json.loads(frame) for frame in batch.frames]

    def _transmit_close(self, code: int) -> None:
        raise AssertionError(f"closed with {CloseCode(code)}")


class InGroup:
    """The membership of a user who is in every chat group."""

    known = groups = frozenset({"g"})

    def joining(self, group_id: str) -> nullcontext[None]:
        return nullcontext()

    async def may_receive(self, group_id: str) -> bool:
        return True


@pytest.fixture
async def world(redis: Redis, conf: RealtimeConf) -> AsyncIterator[World]:
    world = World(redis, conf)
    world.hub.start()
    yield world
    await world.stop()


def subscriptions_of(membership: Any) -> Subscriptions:
    """Return the subscriptions of a connection that receives no chat group."""
    client: Any = SimpleNamespace(outbox=SimpleNamespace(write=None))
    memberships: Any = SimpleNamespace(enter=lambda *_: membership)
    hub: Any = SimpleNamespace(unsubscribe=lambda *_: False)
    return Subscriptions(client, 7, memberships, hub, lambda group_id: None)


def test_only_groups_of_the_user_are_remembered_as_left() -> None:
    noted: list[str] = []
    membership = SimpleNamespace(known=frozenset({"own"}), mark_incomplete=lambda: noted.append("incomplete"))
    subscriptions = subscriptions_of(membership)
    for group_id in ("own", *(f"made-up-{number}" for number in range(100))):
        subscriptions.leave(group_id)
    assert (subscriptions._left, noted) == ({"own"}, [])


def test_groups_left_before_the_user_s_are_known_are_bounded() -> None:
    subscriptions = subscriptions_of(SimpleNamespace(known=None))
    for number in range(MAX_LEFT + 100):
        subscriptions.leave(f"made-up-{number}")
    assert len(subscriptions._left) == MAX_LEFT


@pytest.mark.parametrize("resumes", [False, True])
async def test_second_join_follows_what_its_position_includes(world: World, resumes: bool) -> None:
    outbox = Recorder()

    def write(data: ServerData, message_id: str = "") -> None:
        outbox.write(replies.encode([data], message_id))

    client: Any = SimpleNamespace(outbox=outbox, write=write)
    memberships: Any = SimpleNamespace(enter=lambda *_: InGroup())
    subscriptions = Subscriptions(client, 7, memberships, world.hub, lambda group_id: None)
    assert await subscriptions.join("g", None, "first")
    point = ResumePoint(outbox.sent[0]["data"]["epoch"], 0) if resumes else None
    publication, place = await world.append_untold("group:g")
    world.hub._publication("group:g", place, encode_publication(publication))
    assert await subscriptions.join("g", point, "second")
    assert [frame.get("offset", frame.get("message_id")) for frame in outbox.sent] == ["first", 1, "second"]
    assert outbox.sent[-1]["data"]["offset"] == 1
    assert "recovered" not in outbox.sent[-1]["data"]

"""Check ephemeral frames on a real Redis: delivered to current subscribers on every gateway, within bounds."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from realtime.conf import RealtimeConf
from realtime.hub import ephemeral
from tests.support.hub import Listener, World
from tests.support.redis import Redis

FEED = "group:g"
FRAME = b'{"type":"typing","n":1}'


@pytest.fixture(params=["ours", "stock"])
async def worlds(redis: Redis, conf: RealtimeConf, request: pytest.FixtureRequest) -> AsyncIterator[list[World]]:
    """Start the hubs of two gateways."""
    worlds = [World(redis, conf, request.param, ephemeral_per_second=5) for _ in range(2)]
    for world in worlds:
        world.hub.start()
    yield worlds
    for world in worlds:
        await world.stop()


async def heard_everywhere(worlds: list[World], *listeners: Listener) -> None:
    """Wait until each hub has received a publication, which proves its subscription."""
    await worlds[0].publish(FEED)
    for listener in listeners:
        await listener.until(lambda listener=listener: len(listener.frames) == 1)
        listener.frames.clear()


async def test_ephemeral_frame_reaches_every_gateway_and_no_log(worlds: list[World]) -> None:
    here, there, own_device, elsewhere = Listener(1), Listener(2), Listener(1), Listener(2)
    await worlds[0].hub.subscribe(here, [FEED])
    await worlds[1].hub.subscribe(there, [FEED])
    await worlds[1].hub.subscribe(own_device, [FEED])
    await worlds[1].hub.subscribe(elsewhere, ["group:other"])
    await heard_everywhere(worlds, here, there, own_device)
    position = await worlds[0].log.ensure(FEED)
    worlds[0].hub.ephemeral.send(FEED, FRAME, exclude_user=1)
    worlds[0].hub.ephemeral.send(FEED, b'{"type":"message_read","n":2}')
    await there.until(lambda: [frame["n"] for frame in there.frames] == [1, 2])
    await here.until(lambda: [frame["n"] for frame in here.frames] == [2])
    await own_device.until(lambda: [frame["n"] for frame in own_device.frames] == [2])
    assert elsewhere.frames == []
    assert await worlds[0].log.ensure(FEED) == position


async def test_left_subscriber_receives_no_ephemeral_frames(worlds: list[World]) -> None:
    gone, stays = Listener(1), Listener(2)
    await worlds[0].hub.subscribe(gone, [FEED])
    await worlds[0].hub.subscribe(stays, [FEED])
    await heard_everywhere(worlds, gone, stays)
    worlds[0].hub.unsubscribe(gone, FEED)
    worlds[1].hub.ephemeral.send(FEED, FRAME)
    await stays.until(lambda: len(stays.frames) == 1)
    assert gone.frames == []


async def test_feed_rate_drops_only_ephemeral_frames(worlds: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ephemeral, "time", SimpleNamespace(monotonic=lambda: 5.0))  # a second that does not end
    listener = Listener()
    await worlds[0].hub.subscribe(listener, [FEED])
    await heard_everywhere(worlds, listener)
    for _ in range(20):
        worlds[0].hub.ephemeral.send(FEED, FRAME)
    while worlds[0].hub.ephemeral._is_sending:
        await asyncio.sleep(0)
    await worlds[0].publish(FEED)
    await listener.until(lambda: any("offset" in frame for frame in listener.frames))
    assert sum("offset" not in frame for frame in listener.frames) == 5


async def test_failing_layer_loses_only_ephemeral_frames(worlds: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()
    await worlds[0].hub.subscribe(listener, [FEED])
    await heard_everywhere(worlds, listener)
    sent = asyncio.Event()

    async def fails(*arguments: object) -> None:
        sent.set()
        raise ConnectionError("away")

    with monkeypatch.context() as patched:
        patched.setattr(ephemeral, "send_all", fails)
        worlds[0].hub.ephemeral.send(FEED, FRAME)
        await sent.wait()
        await asyncio.sleep(0)
    worlds[0].hub.ephemeral.send(FEED, FRAME)
    await listener.until(lambda: len(listener.frames) == 1)


async def test_wait_for_a_hanging_layer_is_bounded(worlds: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    sending, goes_on, sent = asyncio.Event(), asyncio.Event(), []

    async def hangs(layer: object, messages: list[object]) -> None:
        sending.set()
        await goes_on.wait()
        sent.extend(messages)

    monkeypatch.setattr(ephemeral, "send_all", hangs)
    monkeypatch.setattr(ephemeral, "MAX_WAITING", 10)
    tell = worlds[0].hub.ephemeral.send
    tell(FEED, FRAME)
    await sending.wait()
    for _ in range(50):
        tell(FEED, FRAME)
    goes_on.set()
    while worlds[0].hub.ephemeral._is_sending:
        await asyncio.sleep(0)
    assert len(sent) == 11

"""Check hub and client in any sequence: a layer that loses, repeats and swaps, a log that is trimmed, lost or set back.

Redis is real. The layer belongs to the test, which decides what arrives and when.
"""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from chatws.client.positions import Positions, Step
from realtime.feeds.log import FeedLog, Position
from realtime.feeds.publication import Publication
from realtime.hub import recovery
from realtime.hub.batch import Batch
from realtime.hub.hub import Hub
from realtime.hub.resume import Resume
from realtime.relay.publisher import Publisher, Routed
from tests.support.redis import RedisServer, connect

FEED = "group:g"
KEYS = [f"chatws:{{{FEED}}}:{part}" for part in ("meta", "log", "ids", "ids:old")]


class Layer:
    """A channel layer in memory; messages wait until the test delivers them."""

    def __init__(self) -> None:
        self.in_flight: list[dict[str, Any]] = []
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._groups: set[str] = set()

    async def new_channel(self) -> str:
        return "channel"

    async def receive(self, channel: str) -> dict[str, Any]:
        return await self._queue.get()

    async def group_add(self, group: str, channel: str) -> None:
        self._groups.add(group)

    async def group_discard(self, group: str, channel: str) -> None:
        self._groups.discard(group)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if group in self._groups:
            self.in_flight.append(message)

    def let_through(self, message: dict[str, Any]) -> None:
        self._queue.put_nowait(message)


class Connection:
    """A subscriber of the hub and its client, which checks everything."""

    user_id = 1

    def __init__(self, places: Positions) -> None:
        self.places = places
        self.got: list[tuple[str, int, str]] = []
        self.lost = 0

    def deliver(self, batch: Batch) -> None:
        for text in batch.frames:
            frame = json.loads(text)
            step = self.places.step(frame["feed"], frame["epoch"], frame["offset"], frame["id"])
            if step is Step.NEXT:
                self.got.append((frame["epoch"], frame["offset"], frame["id"]))
            else:  # a Redis that was set back may repeat publications after it notified the client
                assert (step, self.lost > 0) == (Step.KNOWN, True), (frame, self.places.get(FEED))

    def feed_reset(self, feed: str, position: Position) -> bool:
        self.lost += self.places.report(feed, position.epoch, position.offset, False)
        return True

    def removed_from_feed(self, feed: str, position: Position) -> None: ...

    def access_changed(self, feed: str) -> None: ...


class HubAndClient(RuleBasedStateMachine):
    """Lose, delay and repeat publications; the client must receive each once, in order, or a notification."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.count = 0
        self.truth: dict[tuple[str, int], set[str]] = {}
        """The ids that each position has had; several only if Redis was set back."""
        self.backup: dict[str, bytes] | None = None
        self.connection: Connection
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def _start(self) -> None:
        conf = replace(settings.REALTIME, redis_url=self.server.url, check_seconds=1_000, linger_seconds=1_000)
        self.redis = connect(self.server.url)
        await self.redis.flushall()
        self.layer = Layer()
        self.log = FeedLog(self.redis, conf)
        self.publisher = Publisher(self.log, self.layer)
        self.hub = Hub(self.layer, self.log, conf)
        self.hub.start()
        await self._connect(Connection(Positions()))

    async def _connect(self, before: Connection) -> None:
        places = before.places
        self.connection = Connection(places)
        self.connection.got, self.connection.lost = before.got, before.lost
        place = places.get(FEED)
        resume = Resume({FEED: Position(place.epoch, place.offset)}) if place else None
        [joined] = await self.hub.subscribe(self.connection, [FEED], resume)
        recovered = joined.tail is not None if joined.resumed else None
        self.connection.lost += places.report(FEED, joined.position.epoch, joined.position.offset, recovered)
        self.connection.deliver(Batch(joined.tail or ()))

    async def _settle(self) -> None:
        """Let the hub process its messages, its log reads included."""
        for _ in range(5):
            await asyncio.sleep(0)
        while (feed := self.hub._feeds[FEED]).fill is not None:
            await asyncio.wait([feed.fill])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        async def work() -> None:
            batch = []
            for _ in range(count):
                self.count += 1
                name = f"p{self.count}"
                batch.append(Routed(f"{self.count}-0", FEED, Publication(name, json.dumps({"id": name}).encode())))
            await self.publisher.publish("topic", batch)
            top = await self.log.ensure(FEED)
            for index, routed in enumerate(reversed(batch)):
                self.truth.setdefault((top.epoch, top.offset - index), set()).add(routed.publication.id)

        self.run(work())

    @precondition(lambda self: self.layer.in_flight)
    @rule(data=st.data(), keep=st.booleans())
    def let_through(self, data: st.DataObject, keep: bool) -> None:
        """Deliver messages in any order; a kept one is delivered again later."""
        index = data.draw(st.integers(0, len(self.layer.in_flight) - 1))
        message = self.layer.in_flight[index] if keep else self.layer.in_flight.pop(index)
        self.layer.let_through(message)
        self.run(self._settle())

    @precondition(lambda self: self.layer.in_flight)
    @rule()
    def let_all_through_at_once(self) -> None:
        messages, self.layer.in_flight = self.layer.in_flight, []
        for message in messages:
            self.layer.let_through(message)
        self.run(self._settle())

    @precondition(lambda self: self.layer.in_flight)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.layer.in_flight.pop(data.draw(st.integers(0, len(self.layer.in_flight) - 1)))

    @rule()
    def reconnect(self) -> None:
        async def work() -> None:
            self.hub.unsubscribe_all(self.connection)
            await self._connect(self.connection)

        self.run(work())

    @rule()
    def check(self) -> None:
        async def work() -> None:
            await self.hub.check_all()
            await self._settle()

        self.run(work())

    @rule()
    def redis_loses_everything(self) -> None:
        self.backup = None
        self.run(self._delete())

    async def _delete(self) -> None:
        await self.redis.delete(*KEYS)

    @rule(kept=st.integers(1, 3))
    def trim(self, kept: int) -> None:
        async def work() -> None:
            await self.redis.ltrim(KEYS[1], -kept, -1)

        self.run(work())

    @rule()
    def back_up(self) -> None:
        async def work() -> None:
            self.backup = {key: dump for key in KEYS if (dump := await self.redis.dump(key)) is not None}

        self.run(work())

    @precondition(lambda self: self.backup is not None)
    @rule()
    def redis_goes_back(self) -> None:
        """Set Redis back. The loss of publications that no hub has seen is silent, so the hub sees them first."""

        async def work() -> None:
            await self.hub.check_all()
            await self._settle()
            await self._delete()
            for key, dump in (self.backup or {}).items():
                await self.redis.restore(key, 0, dump)

        self.run(work())

    @invariant()
    def every_frame_is_what_stood_there(self) -> None:
        for epoch, offset, name in self.connection.got:
            assert name in self.truth[epoch, offset]

    def teardown(self) -> None:
        async def work() -> None:
            try:
                for _ in range(2):
                    await self.hub.check_all()
                    await self._settle()
                top = await self.log.ensure(FEED)
                place = self.connection.places.get(FEED)
                assert place is not None
                assert (place.epoch, place.offset) == (top.epoch, top.offset)
                names = [name for _, _, name in self.connection.got]
                assert len(names) == len(set(names)), "handed out twice"
                if not self.connection.lost:
                    assert names == [f"p{number}" for number in range(1, self.count + 1)], "lost without a word"
            finally:
                await self.hub.stop()
                await self.redis.aclose()

        self.run(work())
        self.runner.close()


@pytest.fixture
def machine(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> type[HubAndClient]:
    HubAndClient.server = redis_server
    monkeypatch.setattr(recovery, "SETTLE_SECONDS", 0)
    return HubAndClient


def test_any_sequence_of_losses_repeats_and_breaks(machine: type[HubAndClient]) -> None:
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=80, stateful_step_count=30, deadline=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip

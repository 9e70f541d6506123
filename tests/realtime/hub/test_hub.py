"""Check delivery by the hub on a real Redis and the stock layer: no gap, repeat or disorder."""

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from realtime.aio import tasks
from realtime.feeds.log import Appended
from realtime.feeds.publication import AskAccess, DropUser, Publication, encode_publication
from realtime.hub import receiver
from realtime.hub.batch import Batch
from tests.support.hub import HubNotes, Listener, World


async def test_members_receive_stamped_publications_in_order(world: World) -> None:
    listeners = [Listener(), Listener()]
    for listener in listeners:
        [joined] = await world.hub.subscribe(listener, ["group:g"])
        assert (joined.feed, joined.position.offset) == ("group:g", 0)
    for _ in range(20):
        await world.publish("group:g")
    for listener in listeners:
        await listener.until(lambda listener=listener: len(listener.frames) == 20)
        assert listener.offsets == list(range(1, 21))
        assert [frame["n"] for frame in listener.frames] == list(range(1, 21))
        assert {(frame["feed"], frame["epoch"]) for frame in listener.frames} == {("group:g", joined.position.epoch)}


async def test_age_is_measured_only_for_delivered_publications(world: World) -> None:
    def taken() -> float:
        return REGISTRY.get_sample_value("chatws_event_age_seconds_count") or 0.0

    listener = Listener()
    [joined] = await world.hub.subscribe(listener, ["group:g"])
    before = taken()
    entry = encode_publication(Publication("p", b"{}"))
    for feed, offset in (("group:unheard", 1), ("group:g", 7)):
        world.hub._publication(feed, Appended(joined.position.epoch, offset, ""), entry, 1)
    assert world.hub._entered == []
    await world.publish("group:g")
    await listener.until(lambda: listener.offsets == [1])
    await asyncio.sleep(0)  # the turn in which it was delivered
    assert taken() - before <= 1


async def test_gap_is_filled_before_later_publications(world: World) -> None:
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    await world.append_untold("group:g")
    await world.append_untold("group:g")
    await world.publish("group:g")
    await listener.until(lambda: len(listener.frames) == 3)
    assert listener.offsets == [1, 2, 3]


async def test_concurrent_join_does_not_repeat_its_position(world: World) -> None:
    first, late = Listener(), Listener()
    [joined] = await world.hub.subscribe(first, ["group:g"])
    publication, place = await world.append_untold("group:g")
    world.hub._publication("group:g", place, encode_publication(publication))
    [joined] = await world.hub.subscribe(late, ["group:g"])
    assert joined.position.offset == 1
    await world.publish("group:g")
    await late.until(lambda: late.offsets)
    assert (first.offsets, late.offsets) == ([1, 2], [2])


async def test_unordered_and_repeated_publications_are_delivered_in_order(world: World) -> None:
    listener = Listener()
    await world.hub.subscribe(listener, ["group:g"])
    written = [await world.append_untold("group:g") for _ in range(6)]
    for publication, place in [written[2], written[0], written[0], written[5], *written, written[1]]:
        await world.tell("group:g", publication, place)
    await world.publish("group:g")
    await listener.until(lambda: len(listener.frames) >= 7)
    assert listener.offsets == [1, 2, 3, 4, 5, 6, 7]


async def test_late_member_starts_at_its_position(world: World) -> None:
    first, second = Listener(), Listener()
    await world.hub.subscribe(first, ["group:g"])
    for _ in range(3):
        await world.publish("group:g")
    await first.until(lambda: len(first.frames) == 3)
    [joined] = await world.hub.subscribe(second, ["group:g"])
    assert joined.position.offset == 3
    await world.publish("group:g")
    await second.until(lambda: second.offsets == [4])


async def test_removal_is_the_last_frame_delivered(world: World) -> None:
    removed, other = Listener(user_id=7), Listener(user_id=8)
    heard = HubNotes()
    world.hub.listen(heard)
    for listener in (removed, other):
        await world.hub.subscribe(listener, ["group:g"])
    await world.publish("group:g")
    await world.publish("group:g", DropUser(7))
    for _ in range(3):
        await world.publish("group:g")
    await other.until(lambda: len(other.frames) == 5)
    assert removed.offsets == [1, 2]
    assert removed.dropped_from == [("group:g", 2)]
    assert heard.removals == [(7, "group:g")]
    assert world.hub.feeds_of(removed) == set()


async def test_removing_everybody_costs_each_one_delivery(world: World) -> None:
    """Each removal was delivered to all who were left: half of n * n deliveries."""
    delivered = looked_at = 0

    class Counting(Listener):
        def __getattribute__(self, name: str) -> Any:
            nonlocal looked_at
            looked_at += name == "user_id"
            return super().__getattribute__(name)

        def deliver(self, batch: Batch) -> None:
            nonlocal delivered
            delivered += 1
            super().deliver(batch)

    members = [Counting(user_id) for user_id in range(1, 61)]
    for member in members:
        await world.hub.subscribe(member, ["group:g"])
    looked_at = 0
    for number, member in enumerate(members, start=1):  # they arrive in one turn of the loop
        publication = world.publication(DropUser(member.user_id))
        place = Appended(world.hub._feeds["group:g"].epoch, number, f"p{number - 1}" if number > 1 else "")
        world.hub._publication("group:g", place, encode_publication(publication))
    assert [len(member.frames) for member in members] == list(range(1, 61))
    assert all(member.dropped_from for member in members)
    assert delivered == len(members)
    assert looked_at <= 3 * len(members), "no removal looks through all who are left"
    for member in members:
        world.hub.unsubscribe_all(member)
    assert world.hub._subscribers_of_user == {}


async def test_missed_removal_applies_when_the_gap_is_filled(world: World) -> None:
    removed = Listener(user_id=7)
    await world.hub.subscribe(removed, ["group:g"])
    publication = world.publication(DropUser(7))
    await world.log.append("group:g", "topic", [("1-0", publication.id, encode_publication(publication))])
    await world.publish("group:g")
    await removed.until(lambda: removed.dropped_from)
    assert removed.offsets == [1]


async def test_access_request_reaches_members_of_the_feed(world: World) -> None:
    listener = Listener()
    await world.hub.subscribe(listener, ["user:1"])
    await world.publish("user:1", AskAccess("group:g"))
    await listener.until(lambda: listener.asked == ["group:g"])


async def test_publications_of_one_turn_are_delivered_together(world: World) -> None:
    batches: list[int] = []

    class Counting(Listener):
        def deliver(self, batch: Batch) -> None:
            batches.append(len(batch.frames))
            super().deliver(batch)

    listener = Counting()
    await world.hub.subscribe(listener, ["group:g"])
    places = [await world.append_untold("group:g") for _ in range(3)]
    for publication, place in places:
        world.hub._publication("group:g", place, encode_publication(publication))
    await listener.until(lambda: len(listener.frames) == 3)
    assert batches == [3]


async def test_failing_subscriber_costs_no_other_a_frame(world: World) -> None:
    class Failing(Listener):
        def deliver(self, batch: Batch) -> None:
            raise RuntimeError("closed")

    failing, sound, other = Failing(), Listener(), Listener()
    for subscriber in (failing, sound):
        await world.hub.subscribe(subscriber, ["group:g"])
    await world.hub.subscribe(failing, ["group:h"])
    await world.hub.subscribe(other, ["group:h"])
    for _ in range(2):
        await world.publish("group:g")
        await world.publish("group:h")
    await sound.until(lambda: len(sound.frames) == 2)
    await other.until(lambda: len(other.frames) == 2)
    world.hub.ephemeral.send("group:g", b'{"type":"typing"}')
    await sound.until(lambda: len(sound.frames) == 3)


async def test_receiver_takes_one_channel_however_often_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Layer:
        channels = 0
        failures = 2

        async def new_channel(self) -> str:
            self.channels += 1
            return "channel"

        async def group_add(self, group: str, channel: str) -> None:
            self.failures -= 1
            if self.failures >= 0:
                raise OSError("Redis is away")

        async def receive(self, channel: str) -> dict[str, Any]:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    monkeypatch.setattr(receiver, "RETRY_SECONDS", 0.01)
    layer: Any = Layer()
    hub_receiver = receiver.Receiver(layer, lambda message: None)
    running = tasks.start(hub_receiver.run(), "receiving")
    await hub_receiver.ready.wait()
    await tasks.end([running])
    assert layer.channels == 1

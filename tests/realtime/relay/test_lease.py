"""Check a lease on a real Redis: it has one holder, and only the holder writes."""

from realtime.relay.lease import Lease
from tests.support.redis import Redis
from tests.support.waiting import until_answer

ENTRIES = [("a", {b"payload": b"1"}), ("b", {b"payload": b"2"}), ("a", {b"payload": b"3"})]


def leases(redis: Redis, seconds: float = 600) -> list[Lease]:
    return [Lease(redis, "topic", seconds, name) for name in ("one", "two")]


async def test_lease_lasts_until_release_or_death(redis: Redis) -> None:
    one, two = leases(redis)
    token = await one.take()
    assert token
    assert await two.take() == 0
    assert await one.take() == token
    await two.give_back()  # not its own lease
    assert await two.take() == 0
    await one.give_back()
    later = await two.take()
    assert later > token
    assert await one.take() == 0
    assert await Lease(redis, "topic", 0.2, "two").take() == later  # its last renewal
    assert await until_answer(one.take, what="the lease has ended") > later


async def test_only_the_holder_writes_and_in_order(redis: Redis) -> None:
    one, two = leases(redis)
    assert not await one.publish(ENTRIES), "nobody holds it"
    await one.take()
    assert not await two.publish(ENTRIES)
    assert await one.publish(ENTRIES)
    await redis.flushall()
    assert not await one.publish(ENTRIES), "Redis lost the lease"
    assert await redis.keys() == []
    await two.take()
    assert not await one.publish(ENTRIES)
    assert await two.publish(ENTRIES)
    found = await redis.xrange("a")
    assert [fields for _, fields in found or ()] == [{b"payload": b"1"}, {b"payload": b"3"}]


async def test_holder_is_known_for_the_length_of_a_lease(redis: Redis) -> None:
    one, two = leases(redis)
    assert await one.announce() == ["one"]
    assert await two.announce() == ["one", "two"]
    await one.sign_out()
    assert await two.announce() == ["two"]
    await Lease(redis, "topic", 0.3, "one").announce()
    await until_answer(two.announce, lambda names: names == ["two"], "the word of one no longer holds")

"""Histories of relays: who holds a topic, what stops it, and what its entries become."""

from realtime.feeds.names import group_feed
from realtime.redis import keys
from tests.simulation.chat_service.faults import Fault
from tests.simulation.redis.faults import Under
from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.story import Story

TOPIC = "chat.message.new"


@history(
    Bug(
        "after a flush a new holder's commits are refused for ever",
        "1e57ff1, ADR 7",
        """
        realtime/redis/lua/relay_acquire.lua
        - local committed = tonumber(redis.call('HGET', cursor, 'token') or 0)
        + local committed = 0
        """,
    ),
    relays=2,
)
def test_holder_of_before_a_flush_commits_late(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    for _ in range(2):  # each takeover raises the lease's token
        with story.fault(budget=6.0):
            story.holder(TOPIC).kill()
            story.wait(4)
    for slot in story.relays:
        slot.start()
    story.wait(1)
    old = story.holder(TOPIC)
    with story.fault("FLUSHALL", loses=True, forgets=True, budget=14.0):
        story.post(group, "one")
        story.until(lambda: story.redis.command("LLEN", keys.feed(group_feed(group)).log) == 3)
        story.until(lambda: story.subscription().back.in_flight)
        with story.held(old):  # its commit is on its way
            story.wait(0.1)
            story.redis.command("FLUSHALL")
            story.wait(5)  # the other relay has taken over, with the first token of all
            assert story.holder(TOPIC) is not old
        story.wait(10)
    story.post(group, "two")
    story.until(lambda: bob.read("two"))
    story.wait(3)
    [last] = story.redis.command("XREVRANGE", TOPIC, "+", "-", "COUNT", "1")
    assert story.redis.command("HGET", keys.cursor(TOPIC), "id") == last[0]


@history(
    Bug(
        "a standby is far from its lease after an outage",
        "ea75120",
        """
        realtime/relay/worker.py
        - wait = min(backoff.take(), self._third)  # a standby has to take over soon after a lease expires
        + wait = backoff.take()  # a standby has to take over soon after a lease expires
        """,
    ),
    relays=2,
)
def test_standby_takes_over_soon_after_an_outage(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("Redis is away, and the active relay dies", budget=6.0):
        story.redis.crash()
        story.wait(26)
        story.relays[0].kill()
        story.redis.start()
        story.wait(0.5)
        story.post(group, "after the outage")
    story.until(lambda: bob.read("after the outage"), within=5)


@history(
    Bug(
        "an entry with many fields stops its topic",
        "ecb5a90",
        """
        realtime/redis/lua/relay_dead_letter.lua
        - if #ARGV - first_field + 1 > 2 * MAX_FIELDS then last_kept = first_field + 2 * MAX_FIELDS - 3 end
        + if false then last_kept = first_field + 2 * MAX_FIELDS - 3 end
        """,
    ),
    realtime={"relay_batch": 3},
)
def test_entry_with_many_fields_is_a_dead_letter(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    story.redis.command("XADD", TOPIC, "*", *(word for number in range(4_000) for word in (f"field{number}", "x")))
    for number in range(10):
        story.post(group, f"{number} behind it")
    story.until(lambda: len(bob.texts) == 10)
    assert story.redis.command("XLEN", f"{TOPIC}.dlq") == 1


@history(
    Bug(
        "a stream that is gone stops its upkeep",
        "1e57ff1",
        """
        realtime/relay/topic.py
              groups: Sequence[dict[str, Any]] = await self._redis.xinfo_groups(self.name)
        - except MissingKey:
        + except GroupExists:
        """,
    ),
)
def test_relay_goes_on_beside_a_flushed_stream(story: Story) -> None:
    story.people_of("ann", "bob")
    story.flush()
    story.wait(40)  # it trims every half a minute


@history(
    Bug(
        "a removal is told in the user's feed only",
        "9fc94fd",
        """
        chatws/events/routes.py
        - (feed, _publication(entry.publication_id, _Frame(in_group.TYPE, "", entry.seconds, in_group), drop)),
        + (feed, _publication(entry.publication_id, _Frame(in_group.TYPE, "", entry.seconds, in_group), None)),
        """,
    ),
)
def test_message_right_behind_a_removal(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault():
        story.chat.faults.begin(Fault.SLOW, "GetUserGroups", seconds=1.0)
        story.remove(group, bob)
        story.until(lambda: ann.saw("group_member", change="removed"))
        story.post(group, "not for bob")
        story.until(lambda: ann.read("not for bob"))
        story.wait(2)
        story.chat.faults.end()
    assert not bob.texts


@history(
    Bug(
        "a stream is trimmed before another consumer group has read it",
        "771d0e1",
        """
        realtime/relay/topic.py
        - done = min(done, oldest.decode(), key=_order)
        + pass
        """,
    ),
)
def test_stream_is_kept_for_its_slowest_consumer_group(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    story.redis.command("XGROUP", "CREATE", TOPIC, "another service", "0", "MKSTREAM")
    for number in range(250):
        story.post(group, f"number {number}")
    story.wait(35)  # a relay trims every half a minute
    assert story.redis.command("XLEN", TOPIC) == 250


@history(
    Bug(
        "a refused batch is tried again long after Redis takes it",
        "worlds in which Redis refuses a part of its keys",
        """
        realtime/relay/worker.py
        - await self._wait_with_lease(token, min(backoff.take(), self._third))  # deliver soon after the failure ends
        + await self._wait_with_lease(token, backoff.take())
        """,
    ),
)
def test_refused_batch_is_delivered_soon_afterwards(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault():
        story.redis.server.errors("NOPERM", which=Under(f"{keys.prefix()}{{group:".encode()))
        story.post(group, "one")
        story.wait(7)
        story.redis.server.clear_errors()
    story.until(lambda: bob.read("one"))

"""Histories of the channel layer, and of a Redis that answers, but not as hoped."""

from functools import partial
from typing import Any

from realtime.feeds.names import group_feed
from realtime.redis import keys
from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.person import is_answered
from tests.simulation.scripted.story import Story

WRITES_REFUSED = ("MISCONF", "NOREPLICAS", "OOM", "READONLY")
ALL_REFUSED = ("LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "NOPERM")


def are_answered(tasks: list[Any]) -> bool:
    return all(map(is_answered, tasks))


@history(
    Bug(
        "an error of Redis that passes is taken for a mistake of ours",
        "78114c9, d8f6106, ADR 28",
        """
        realtime/redis/errors.py
        - PERMANENT_CODES = frozenset({"WRONGTYPE", "CROSSSLOT"})
        + PERMANENT_CODES = frozenset({"WRONGTYPE", "CROSSSLOT", "MISCONF", "NOREPLICAS", "NOPERM"})
        """,
    ),
)
def test_redis_answers_errors_for_a_while(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    for code in WRITES_REFUSED + ALL_REFUSED:
        with story.fault(f"Redis answers {code}", budget=12.0):
            story.redis.server.errors(code, 2.0)
            sending = ann.say(group, code)
            story.wait(2.5)
        story.until(partial(is_answered, sending), within=12)
    assert not ann.saw("error", code=500)


@history(
    Bug(
        "work that fails once ends for good",
        "643ec31",
        """
        realtime/aio/tasks.py
        - await asyncio.sleep(backoff.take())
        + return
        """,
    ),
)
def test_presence_goes_on_after_a_mistake(story: Story) -> None:
    story.is_quiet_checked = True
    story.expected = ["presence failed, restarting"]
    story.people_of("ann")
    with story.fault():
        story.redis.command("RENAME", keys.online(), "elsewhere")
        story.redis.command("SET", keys.online(), "another type")
        story.people_of("bob")
        story.wait(1)
        story.redis.command("RENAME", "elsewhere", keys.online())


@history(
    Bug(
        "a refused SUBSCRIBE costs the layer its connection",
        "d8f6106",
        """
        realtime/layers/redis_pubsub.py
        - self._refused(names, str(translate(reply)))
        - return
        + raise translate(reply)
        """,
    ),
)
def test_redis_refuses_to_subscribe(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    old = story.group(ann, bob)
    link = story.subscription()
    with story.fault("Redis refuses SUBSCRIBE", budget=8.0):
        story.redis.server.errors("NOPERM", 6.0, which=frozenset({"subscribe"}))
        new = story.chat.create(ann.user_id, bob.user_id)
        story.wait(3)
        story.post(old, "meanwhile")
        story.until(lambda: bob.read("meanwhile"), within=1)
        story.wait(3)
    story.until(lambda: new in bob.groups, within=8)
    assert story.subscription() is link


@history(
    Bug(
        "the layer's back-off begins anew with each connection",
        "d8f6106",
        """
        realtime/layers/redis_pubsub.py
        - if loop.time() - connected_at >= HEALTHY_SECONDS:
        + if connected_at < math.inf:
        """,
    ),
)
def test_subscription_is_lost_again_and_again(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    lost = 0
    with story.fault("the subscription is lost again and again", budget=5.0):
        for _ in range(200):
            story.wait(0.1)
            lost += story.is_subscribed_anew(None)
            story.redis.server.kill_clients("pubsub")
    assert lost < 40
    story.post(group, "at last")
    story.until(lambda: bob.read("at last"))


@history(
    Bug(
        "the layer waits for a confirmation for ever",
        "d8f6106",
        """
        realtime/layers/redis_pubsub.py
        - if reply is None:
        -     raise RedisConnectionLost(f"no answer in {SILENT_SECONDS:g} s")
        - self._received(reply)
        + if reply is not None:
        +     self._received(reply)
        """,
    ),
)
def test_connection_falls_silent_before_it_has_subscribed(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    old = story.subscription()
    with story.fault("the subscription is lost, and the next one falls silent", budget=8.0):
        old.reset()
        story.until(lambda: story.is_subscribed_anew(old))
        story.subscription().cut_silently()
        story.post(group, "unheard")
        story.wait(0.1)
    story.until(lambda: bob.read("unheard"), within=8)
    ann.typing(group)
    story.until(lambda: bob.saw("typing"))


@history(
    Bug(
        "a subscription that was given up is never asked for again",
        "771d0e1",
        """
        realtime/layers/redis_pubsub.py
          self._confirmed.discard(channel)
        - self._give_up(channel)
        """,
    ),
    realtime={"linger_seconds": 0.2},
)
def test_feed_closes_before_redis_has_subscribed(story: Story) -> None:
    (bob,) = story.people_of("bob")
    group = story.chat.create(story.user_of("ann"))
    hub, process = story.gateway().node.hub, story.gateway().process
    with story.fault("the layer's connection stalls"):
        story.subscription().out.hold()
        gives_up = process.start(
            hub.subscribe(story.connection(bob).handler.session.subscriptions, [group_feed(group)]), "one who goes"
        )
        story.wait(0.1)
        gives_up.cancel()
        story.until(lambda: group_feed(group) not in hub._feeds)
        ann = story.person("ann")
        story.wait(0.1)
        story.subscription().out.release()
    story.until(lambda: ann.is_online)


@history(
    Bug(
        "each broken connection of a pool costs somebody a frame",
        "d8f6106",
        """
        realtime/redis/pool.py
        - if not is_repeatable:
        -     raise
        + raise
        realtime/redis/pool.py
        - if writer.is_closing() or reader.exception() is not None or _is_closed(writer.get_extra_info("socket")):
        -     await connection.disconnect(nowait=True)
        + return
        """,
    ),
)
def test_redis_ends_all_connections_within_bursts(story: Story) -> None:
    people = story.people_of(*(f"member {number}" for number in range(6)))
    group = story.group(*people)
    with story.fault("Redis ends its clients"):
        for number in range(8):
            burst = [person.say(group, f"{number} of {person.name}") for person in people]
            story.wait(0.001 + 0.0003 * number)
            story.redis.server.kill_clients("normal")
            story.until(partial(are_answered, burst))
    assert not any(person.saw("error") for person in people)


@history(
    Bug(
        "connections to a former master answer READONLY for ever",
        "d8f6106",
        """
        realtime/redis/pool.py
        - if not await _renew(pool, began):
        -     raise
        + raise
        """,
    ),
)
def test_replica_takes_over_behind_the_address(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("a replica takes over", budget=8.0):
        story.take_over()
        sending = ann.say(group, "to the new master")
        story.until(lambda: is_answered(sending), within=8)
        story.wait(5)
    story.post(group, "relayed")
    story.until(lambda: bob.read("relayed"))


@history(
    Bug(
        "logs are not read while Redis takes no writes",
        "3ca5682",
        """
        realtime/redis/lua/feed_range.lua
        - #!lua flags=no-writes
        + #!lua
        """,
    ),
)
def test_client_resumes_while_redis_takes_no_writes(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(bob, ann)
    ann.is_away()
    story.post(group, "missed")
    story.until(lambda: bob.read("missed"))
    with story.fault("Redis can't save", budget=12.0):
        story.redis.server.errors("MISCONF", 6.0)
        ann.returns()
        story.until(lambda: ann.read("missed"), within=3)
        story.wait(4)

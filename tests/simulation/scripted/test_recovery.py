"""Histories of a Redis that loses what it has acknowledged, of a layer that hears nothing, and of the feeds' logs."""

from realtime.feeds.names import group_feed
from tests.simulation.chat_service.faults import Fault
from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.story import Story


@history(
    Bug(
        "an offset that is assigned again hides publications",
        "f81c668, ADR 6",
        """
        realtime/hub/hub.py
        - follows_on = (place.epoch, place.offset, place.after) == (feed.epoch, feed.offset + 1, feed.last_id)
        + follows_on = (place.epoch, place.offset) == (feed.epoch, feed.offset + 1)
        """,
    ),
)
def test_redis_that_went_back_assigns_offsets_again(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    before = story.redis.model.snapshot()
    story.post(group, "lost")
    story.until(lambda: bob.read("lost"))
    with story.fault("Redis went back", loses=True, forgets=True):
        story.redis.model.restore(before)
        story.subscription().back.is_silent = True  # the hint of the first is lost
        story.post(group, "hidden")
        story.wait(0.1)
        story.subscription().back.is_silent = False
        story.post(group, "seen")
        story.until(lambda: bob.read("seen") or bob.saw("feed_reset"))
    assert bob.read("hidden") or bob.saw("feed_reset")


@history(
    Bug(
        "a log that went back is taken for one without news",
        "d4349bc",
        """
        realtime/hub/recovery.py
        - elif _went_back(feed.position, found):
        + elif False:
        """,
    ),
)
def test_redis_that_went_back_begins_a_new_epoch(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    before = story.redis.model.snapshot()
    for text in ("one", "two", "three"):
        story.post(group, text)
    story.until(lambda: bob.read("three"))
    with story.fault("Redis went back", loses=True, forgets=True):
        story.redis.model.restore(before)
        story.post(group, "four")
        story.until(lambda: bob.saw("feed_reset"))


@history(
    Bug(
        "after a lost log a removed user receives until the chat service answers",
        "68a05f9, ADR 5",
        """
        chatws/socket/subscriptions.py
        - self.membership.removed(group_id)
        - return False
        + self.membership.refresh_in_background()
        + return True
        """,
    ),
    Bug(
        "nobody tells a client of a removal that Redis lost",
        "ebfc3a9",
        """
        chatws/socket/subscriptions.py
        - self._end_waiting()
        """,
    ),
)
def test_removal_that_redis_lost_lets_no_message_through(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault(budget=8.0), story.fault("FLUSHALL", loses=True, forgets=True, budget=12.0):
        story.chat.faults.begin(Fault.SLOW, "GetUserGroups", seconds=3.0)
        story.subscription().back.is_silent = True
        story.remove(group, bob)
        story.wait(0.2)
        story.redis.command("FLUSHALL")
        story.subscription().back.is_silent = False
        story.post(group, "not for bob")
        story.until(lambda: ann.saw("feed_reset"))
        story.post(group, "not for bob either")
        story.wait(2)
        story.chat.faults.end()
    story.wait(5)
    assert bob.texts == []


@history(
    Bug(
        "what was missed without the layer waits for the next check",
        "68a05f9",
        """
        realtime/hub/hub.py
        - self._recovery.wanted.set()
        """,
    ),
)
def test_message_while_the_layer_hears_nothing(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault():
        story.subscription().reset()
        story.post(group, "unheard")
        story.wait(0.02)
    story.until(lambda: bob.read("unheard"))


@history(
    Bug(
        "a log that could not be read waits for the next check",
        "1e57ff1",
        """
        realtime/hub/recovery.py
          logger.info("feed %s can't be read now, retrying: %s", feed.name, error)
        - self.wanted.set()
        """,
    ),
)
def test_log_can_not_be_read_for_a_moment(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("hints are lost, and Redis loads its data"):
        link = story.subscription()
        link.reset()
        story.post(group, "unheard")
        story.until(lambda: story.is_subscribed_anew(link))
        story.wait(0.15)  # the positions were compared
        story.redis.server.errors("LOADING", 1.0, which=frozenset({"evalsha"}))
        story.wait(1.2)
    story.until(lambda: bob.read("unheard"))


@history(
    Bug(
        "a half-open subscription stays deaf",
        "68a05f9",
        """
        realtime/layers/redis_pubsub.py
        - SILENT_SECONDS = 3.0
        + SILENT_SECONDS = 1e9
        """,
    ),
)
def test_subscription_that_falls_silent_is_replaced(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault(budget=6.0):
        story.subscription().cut_silently()
        story.post(group, "unheard")
    story.until(lambda: bob.read("unheard"), within=6)
    ann.typing(group)
    story.until(lambda: bob.saw("typing"))


@history(
    Bug(
        "a feed's position is read before Redis has subscribed",
        "68a05f9",
        """
        realtime/layers/redis_pubsub.py
        - async with asyncio.timeout(CONFIRMED_SECONDS):
        -     await asyncio.shield(waiting)
        + await asyncio.sleep(0)
        """,
    ),
)
def test_message_while_a_subscription_is_on_its_way(story: Story) -> None:
    (ann,) = story.people_of("ann")
    group = story.group("bob", ann)
    ann.is_away()
    story.wait(3)  # the gateway no longer receives the group
    with story.fault():
        story.subscription().out.hold()
        ann.returns()
        story.wait(0.5)
        story.post(group, "in between")
        story.wait(0.2)
        story.subscription().out.release()
    story.until(lambda: ann.read("in between"))


@history(
    Bug(
        "a log lost before a resume is reported twice",
        "bf1c2e5",
        """
        realtime/hub/resume.py
        - if is_current:
        + if True:
        """,
    ),
)
def test_client_resumes_before_its_gateway_knows_of_a_flush(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    ann.is_away()
    story.post(group, "missed")
    story.until(lambda: bob.read("missed"))
    with story.fault("FLUSHALL", loses=True, forgets=True, budget=12.0):
        story.redis.command("FLUSHALL")
        ann.returns()
        story.wait(12)
    assert len([notice for notice in ann.reader.notices if notice.feed == group_feed(group)]) == 1


@history(
    Bug(
        "a client that knows the new epoch is told of a loss by a gateway that doesn't",
        "bf1c2e5",
        """
        realtime/hub/hub.py
        - await self._recovery.confirm(others)
        + pass
        """,
    ),
    gateways=2,
)
def test_client_moves_to_a_gateway_with_an_old_epoch(story: Story) -> None:
    (bob,) = story.people_of("bob")
    (ann,) = story.people_of("ann", gateway=1)
    group = story.group(bob, ann)
    with story.fault("FLUSHALL, and a hint is lost", loses=True, forgets=True, budget=12.0):
        story.redis.command("FLUSHALL")
        story.subscription(0).back.is_silent = True
        story.post(group, "the feed begins anew")
        story.until(lambda: ann.saw("feed_reset", feed=group_feed(group)))
        story.subscription(0).back.is_silent = False
        story.wait(0.5)
        ann.is_away()
        ann.moves(0)
        ann.returns()
        story.until(lambda: ann.is_online)
    assert len([notice for notice in ann.reader.notices if notice.feed == group_feed(group)]) == 1


@history(
    Bug(
        "an epoch that had ended goes on, and its offsets hide publications",
        "2c2b755",
        """
        realtime/hub/recovery.py
        - if end.epoch in feed.past_epochs:
        + if False:
        """,
    ),
)
def test_redis_goes_back_across_a_reset(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    before = story.redis.model.snapshot()
    story.post(group, "lost")
    story.until(lambda: ann.read("lost") and bob.read("lost"))
    ann.is_away()
    story.flush()
    story.until(lambda: bob.saw("feed_reset", feed=group_feed(group)), within=12)
    present = story.feed(group).epoch
    with story.fault("Redis went back", loses=True, forgets=True, repeats=True, budget=12.0):
        story.redis.model.restore(before)
        story.post(group, "at the same offset")
        story.until(lambda: story.feed(group).epoch != present, within=12)
        story.wait(1)
        ann.returns()
        story.until(lambda: ann.is_online)
        story.wait(1)
    assert ann.read("at the same offset") or [one for one in ann.reader.notices if one.feed == group_feed(group)]


@history(
    Bug(
        "who resumes while Redis refuses asks without a pause",
        "3ca5682",
        """
        chatws/socket/subscriptions.py
        - self._retry = asyncio.get_running_loop().call_later(self._backoff.take(), self._reconciling.ask)
        + self.membership.refresh_in_background()
        """,
    ),
    Bug(
        "tries that fail use up what may be resumed",
        "3ca5682",
        """
        realtime/hub/resume.py
        - resume.feeds += 1  # a try that failed, as Redis was away, is made again
        + resume.feeds -= 100
        """,
    ),
)
def test_resuming_while_redis_refuses_to_read(story: Story) -> None:
    """A log can't be read for some seconds: few calls are made meanwhile, and then all that was missed arrives."""
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    story.post(group, "before")
    story.until(lambda: bob.read("before"))
    bob.is_away()
    story.post(group, "missed")
    story.until(lambda: ann.read("missed"))
    with story.fault("Redis refuses"):
        story.redis.server.errors("NOPERM", which=frozenset({"evalsha"}))
        calls = story.calls_of("GetUserGroups")
        bob.returns()
        story.wait(10)
        assert len(calls) < 20
        story.redis.server.clear_errors()
        story.until(lambda: bob.read("missed"))
    assert not bob.saw("feed_reset")

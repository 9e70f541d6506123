"""Histories of epochs: gateways that can or can't know of a new one, and offsets that are given twice."""

from typing import Any

from realtime.feeds.names import group_feed
from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.story import Story

WENT_BACK: dict[str, Any] = {"loses": True, "forgets": True, "repeats": True, "budget": 12.0}


def places(story: Story, group: str, epoch: str) -> list[bool]:
    """Return whether the offset of the first message, and the one behind it, count as given twice."""
    return [story.world.ledger.took_a_place(group_feed(group), (epoch, offset)) for offset in (2, 3)]


@history()
def test_gateway_that_knows_an_offset_is_killed(story: Story) -> None:
    """The epoch goes on, and the message's offset is given twice: what is at it is promised to nobody."""
    (ann,) = story.people_of("ann")
    group = story.group(ann)
    before = story.redis.model.snapshot()
    story.post(group, "first")
    story.until(lambda: ann.read("first"))
    epoch = story.feed(group).epoch
    with story.fault("Redis went back, and the gateway is killed", **WENT_BACK):
        story.world.lost.of(lambda: story.redis.model.restore(before))
        story.kill_gateway(0)
        story.wait(2)
        assert places(story, group, epoch) == [True, False]
        story.start_gateway(0)
        story.until(lambda: ann.is_online and story.receives(ann, group))
    assert story.feed(group).epoch == epoch
    story.post(group, "second")
    story.until(lambda: ann.read("second"))


@history()
def test_gateway_that_knows_an_offset_lives(story: Story) -> None:
    """A new epoch begins, and no offset is given twice: what is lost is judged."""
    (ann,) = story.people_of("ann")
    group = story.group(ann)
    before = story.redis.model.snapshot()
    story.post(group, "first")
    story.until(lambda: ann.read("first"))
    epoch = story.feed(group).epoch
    with story.fault("Redis went back", **WENT_BACK):
        story.world.lost.of(lambda: story.redis.model.restore(before))
        story.until(lambda: story.feed(group).epoch != epoch, within=12)
        story.wait(2)
    assert places(story, group, epoch) == [False, False]


def move_unnoticed(story: Story, *refused: str, then_remove: bool = False) -> None:
    """Move somebody who knows a feed's new epoch to a gateway that doesn't, while Redis refuses some commands."""
    story.people_of("bob", "ann's phone")
    (ann,) = story.people_of("ann", gateway=1)
    group = story.group("bob", ann)
    with story.fault("FLUSHALL, a hint is lost, and Redis refuses", loses=True, forgets=True, budget=12.0):
        story.redis.command("FLUSHALL")
        story.subscription(0).back.is_silent = True
        story.post(group, "the feed begins anew")
        story.until(lambda: ann.saw("feed_reset", feed=group_feed(group)))
        story.subscription(0).back.is_silent = False
        story.wait(0.5)
        ann.is_away()
        ann.moves(0)
        story.redis.server.errors("LOADING", which=frozenset(refused))
        ann.returns()
        story.wait(2)
        if then_remove:
            story.remove(group, ann)
            story.wait(1)
        story.redis.server.clear_errors()
        story.until(lambda: story.receives(ann, group) != then_remove)
        story.wait(1)
    assert len([notice for notice in ann.reader.notices if notice.feed == group_feed(group)]) == 1


@history(
    Bug(
        "a client that knows the new epoch is told of a loss by a gateway that can't ask Redis",
        "4f38602",
        """
        realtime/hub/hub.py
        - return [feed for feed in others if feed.epoch != resume.points[feed.name].epoch]
        + return []
        """,
    ),
    gateways=2,
)
def test_client_moves_to_a_gateway_that_cannot_read_positions(story: Story) -> None:
    move_unnoticed(story, "hmget")


@history(
    Bug(
        "a client that knows the new epoch is told of a loss by a gateway that can't read the log",
        "4f38602",
        """
        realtime/hub/recovery.py
        - if any(feed.dirty for feed in feeds):
        + if False:
        """,
    ),
    gateways=2,
)
def test_client_moves_to_a_gateway_that_cannot_read_the_log(story: Story) -> None:
    move_unnoticed(story, "evalsha")


@history(
    Bug(
        "nobody tells a client of a removal from a chat group that it waits for",
        "0f6108e",
        """
        chatws/socket/subscriptions.py
        - self._waiting.setdefault(group_of(feed), self.membership.answers)
        + pass
        """,
    ),
    gateways=2,
)
def test_client_is_removed_while_it_waits_for_a_feed(story: Story) -> None:
    move_unnoticed(story, "hmget", then_remove=True)


@history(
    Bug(
        "a loss is told twice if the log can't be read when the client resumes",
        "aa66729",
        """
        realtime/hub/recovery.py
          self.start(feed)
        - await _read([feed])
        + if feed.fill is not None:
        +     await asyncio.wait([feed.fill])
        """,
    ),
)
def test_client_resumes_behind_a_trimmed_log_that_cannot_be_read(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    ann.is_away()
    story.post(group, "missed")
    story.until(lambda: bob.read("missed"))
    with story.fault("a log is trimmed, and Redis refuses writes", loses=True, budget=12.0):
        story.subscription().back.is_silent = True
        for text in ("unheard", "unheard too"):
            story.post(group, text)
        story.wait(0.2)
        story.redis.command("LTRIM", f"chatws:{{group:{group}}}:log", "-1", "-1")
        story.redis.server.errors("OOM", which="writes")
        story.subscription().back.is_silent = False
        ann.returns()
        story.wait(2)
        story.redis.server.clear_errors()
        story.until(lambda: story.receives(ann, group))
        story.wait(12)
    assert len([notice for notice in ann.reader.notices if notice.feed == group_feed(group)]) == 1

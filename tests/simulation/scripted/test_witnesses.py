"""Histories of a Redis that goes back to an earlier offset, and of gateways that can or can't know it."""

from typing import Any

from realtime.feeds.names import group_feed
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

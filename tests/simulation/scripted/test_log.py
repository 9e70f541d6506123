"""Histories of the feeds' logs in Redis: what is appended again, and what is kept for how long."""

from realtime.feeds.names import group_feed
from realtime.redis import keys
from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.story import Story


@history(
    Bug(
        "a late relay appends again",
        "d4349bc",
        """
        realtime/redis/lua/feed_append.lua
        - elseif not is_later then
        + elseif false then
        """,
    ),
    relays=2,
    realtime={"id_seconds": 5},
)
def test_relay_that_wakes_after_the_ids_have_expired(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    relay = story.holder("chat.message.new")
    with story.fault(budget=6.0), story.held(relay):  # it has read the message; what it appends is late
        story.post(group, "once")
        story.until(lambda: bob.read("once"), within=10)
        story.wait(15)
    story.post(group, "last")
    story.until(lambda: bob.read("last"))


@history(
    Bug(
        "a busy feed repeats what is published again",
        "d4349bc",
        """
        realtime/redis/lua/feed_append.lua
        - if offset then
        + if offset and offset > feed.offset - #payloads - redis.call('LLEN', log) then
        """,
    ),
    realtime={"feed_publications": 3},
)
def test_message_is_published_again_behind_a_short_log(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    for number in range(6):
        story.post(group, f"number {number}")
    story.until(lambda: len(bob.texts) == 6)
    story.post_again("number 0")
    story.post(group, "last")
    story.until(lambda: bob.read("last"))


@history(
    Bug(
        "ids that Redis has lost never expire again",
        "c576838",
        """
        realtime/redis/lua/feed_append.lua
        - redis.call('EXPIRE', ids, 2 * id_seconds)
        + if is_new_generation then redis.call('EXPIRE', ids, 2 * id_seconds) end
        """,
    ),
)
def test_ids_of_a_feed_are_lost(story: Story) -> None:
    story.is_quiet_checked = True
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    story.redis.command("DEL", keys.feed(group_feed(group)).ids)
    story.post(group, "hello")
    story.until(lambda: bob.read("hello"))

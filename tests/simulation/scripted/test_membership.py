"""Histories of who is in which chat group: removals that nearly pass unseen, limits, disbanded groups."""

from chatws.client import Refused
from realtime.feeds.names import group_feed
from tests.simulation.chat_service.faults import Fault
from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.person import is_answered
from tests.simulation.scripted.story import Story


def answers_late(story: Story, seconds: float) -> None:
    """Let the chat service answer questions for a user's groups late, with what was true when they were asked."""
    story.chat.faults.begin(Fault.SLOW, "GetUserGroups", seconds=seconds)


@history(
    Bug(
        "a removal between the answer and the subscription is missed",
        "ADR 3",
        """
        chatws/membership/membership.py
        - if not self._stale and not not_received:
        + if not self._stale:
        """,
    ),
    relays=2,
)
def test_removed_before_the_gateway_receives_the_group(story: Story) -> None:
    group = story.chat.create(story.user_of("ann"), story.user_of("bob"))
    story.spread()
    answers_late(story, 0.5)
    bob = story.person("bob")
    story.wait(0.3)
    with story.half_removed(group, bob):
        story.chat.faults.end()
        story.until(lambda: bob.is_online)
        story.post(group, "not for bob")
        story.wait(0.5)
    assert not bob.texts


@history(
    Bug(
        "a removal before another connection opened the group's feed is missed",
        "eb61079",
        """
        realtime/hub/hub.py
        - return known is not None and 0 < known.opened <= openings and known.closing is None
        + return known is not None and 0 < known.opened and known.closing is None
        """,
    ),
    relays=2,
)
def test_removed_before_another_connection_opens_the_group(story: Story) -> None:
    group = story.chat.create(story.user_of("ann"), story.user_of("bob"))
    story.spread()
    answers_late(story, 0.5)
    bob = story.person("bob")
    story.wait(0.1)
    with story.half_removed(group, bob):
        story.chat.faults.end()
        ann = story.person("ann")
        story.until(lambda: ann.is_online and bob.is_online)
        story.post(group, "not for bob")
        story.until(lambda: ann.read("not for bob"))
        story.wait(0.5)
    assert not bob.texts


@history(
    Bug(
        "a group that was left is joined by what was known",
        "7021a7a",
        """
        chatws/membership/membership.py
        - if self.groups is not None and group_id in self.groups and self._is_received(group_id):
        + if self.groups is not None and group_id in self.groups:
              return True
          now = time.monotonic()
        chatws/membership/membership.py
        - if self.groups is not None and group_id in self.groups and self._is_received(group_id):
        + if self.groups is not None and group_id in self.groups:
        """,
    ),
    relays=2,
)
def test_removed_from_a_group_that_was_left(story: Story) -> None:
    (bob,) = story.people_of("bob")
    group = story.group("ann", bob)
    bob.leave(group)
    story.spread()
    assert group_feed(group) not in story.gateway().node.hub._feeds
    with story.half_removed(group, bob):
        joining = bob.join(group)
        story.until(joining.done)
        story.post(group, "not for bob")
        story.wait(0.5)
    assert not bob.texts
    assert isinstance(joining.exception(), Refused)


@history(
    Bug(
        "a message to a group that is being asked about gets 403",
        "1e57ff1",
        """
        chatws/membership/membership.py
        - is_fresh = self.groups is not None and not self._stale and self._refreshing is None
        + is_fresh = self.groups is not None
        """,
    ),
)
def test_message_while_membership_is_asked_about(story: Story) -> None:
    (ann,) = story.people_of("ann")
    group = story.group(ann, "bob")
    elsewhere = story.chat.create(story.user_of("bob"))
    stranger = ann.say(elsewhere, "not a member")
    story.until(stranger.done)
    with story.fault(budget=4.0), story.fault("FLUSHALL", loses=True, forgets=True, budget=12.0):
        answers_late(story, 0.5)
        story.redis.command("FLUSHALL")
        story.post(group, "the feed begins anew")
        story.until(lambda: ann.saw("feed_reset", feed=group_feed(group)))
        sending = ann.say(group, "meanwhile")
        story.until(sending.done)
        story.chat.faults.end()
    assert is_answered(sending)


@history(
    Bug(
        "who was asked about before the layer was deaf again is not asked again",
        "1bc44d9",
        """
        chatws/membership/registry.py
        - self._not_refreshed = [*waiting, *(user for user in self._users.values() if user not in waiting)]
        + if self._refreshing_all is None or self._refreshing_all.done():
        +     self._not_refreshed = list(self._users.values())
        """,
    ),
)
def test_layer_is_deaf_again_while_users_refresh(story: Story) -> None:
    bob, *_ = story.people_of("bob", *(f"user {number}" for number in range(12)))
    group = story.group("ann", bob)
    with story.fault(budget=6.0):
        story.subscription().reset()
        story.wait(0.3)  # bob is among the first ten, who have been asked about
        answers_late(story, 1.0)
        story.subscription().reset()
        story.wait(0.2)
        story.remove(group, bob, silently=True)
        story.subscription().reset()
        story.wait(0.2)
        story.chat.faults.end()
    story.until(lambda: bob.saw("group_left"), within=6)


@history(
    Bug(
        "a newcomer is admitted to groups about which a question went unanswered",
        "f6e13d4",
        """
        chatws/membership/membership.py
        - if self.groups is None or self._incomplete or self._stale or self._refreshing or self._in_background:
        + if self.groups is None or self._incomplete or self._stale or self._refreshing:
        """,
    ),
)
def test_second_device_comes_while_groups_can_not_be_read(story: Story) -> None:
    (bob,) = story.people_of("bob")
    group = story.group("ann", bob)
    with story.fault("the layer was deaf, and the chat service is away", budget=12.0):
        story.chat.faults.begin(Fault.UNAVAILABLE, "GetUserGroups")
        story.subscription().reset()
        story.remove(group, bob, silently=True)
        story.wait(6)  # the gateway pauses between two questions
        phone = story.person("bob's phone")
        story.until(lambda: phone.is_online)
        story.post(group, "not for bob's phone")
        story.wait(1)
        story.chat.faults.end()
        story.wait(8)
    assert not phone.texts


@history(
    Bug(
        "a removal without an event is never noticed",
        "84f5b98, ADR 17",
        """
        chatws/membership/registry.py
        - if self._every and self._checking is None:
        + if False:
        """,
    ),
    chat={"membership_seconds": 30.0},
)
def test_removal_without_an_event(story: Story) -> None:
    (bob,) = story.people_of("bob")
    group = story.group("ann", bob)
    with story.fault("a chat service that tells nobody", budget=40.0):
        story.remove(group, bob, silently=True)
        story.until(lambda: bob.saw("group_left"), within=40)


@history(
    Bug(
        "typing goes on for a user whom a check found removed",
        "faee082",
        """
        chatws/socket/subscriptions.py
        - self._on_removed(group_of(feed))
        """,
    ),
    chat={"membership_seconds": 1.0},
)
def test_typing_ends_when_a_check_finds_the_removal(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    bob.typing(group)
    story.until(lambda: ann.saw("typing", typing=True))
    story.remove(group, bob, silently=True)
    story.until(lambda: bob.saw("group_left"))
    story.until(lambda: ann.saw("typing", typing=False), within=1)

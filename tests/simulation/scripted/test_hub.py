"""Histories of the hub and of what stands before a socket: what is delivered to whom, and in which order."""

from typing import Any

from tests.simulation.chat_service.faults import Fault
from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.person import Person
from tests.simulation.scripted.story import Story


@history(
    Bug(
        "an error of one connection costs the others their frames",
        "faee082",
        """
        realtime/connection/asgi_outbox.py
        - except Exception:  # a boundary: servers raise errors of their own for a connection that has ended
        + except OSError:  # a boundary: servers raise errors of their own for a connection that has ended
        realtime/hub/hub.py
        - except Exception:  # a boundary: an error with one subscriber must not cost the others
        + except OSError:  # an error with one subscriber must not cost the others
        """,
    ),
    frames=False,
)
def test_error_of_one_connection_costs_no_other(story: Story) -> None:
    bob, ann, cid = story.people_of("bob", "ann", "cid")
    group = story.group(ann, bob, cid)

    async def send(message: object) -> None:
        raise RuntimeError("a server's own error for a connection that is closing")

    story.connection(bob).outbox._send = send
    ann.say(group, "hello")
    story.until(lambda: cid.read("hello"))
    bob.reset()


@history(
    Bug(
        "waiting for a feed ends with the feed's closing",
        "faee082",
        """
        realtime/hub/local_feeds.py
        - await asyncio.wait([feed.closing])
        + await asyncio.shield(feed.closing)
        realtime/hub/local_feeds.py
        - await asyncio.wait([opening])
        + await asyncio.shield(opening)
        """,
    ),
)
def test_feed_closed_while_opening_is_opened_again(story: Story) -> None:
    (ann,) = story.people_of("ann")
    process, hub = story.gateway().process, story.gateway().node.hub
    with story.fault(), story.stalled(process):
        gives_up = process.start(hub.subscribe(story.connection(ann).handler.session.subscriptions, ["group:g"]), "one")
        story.wait(0.1)
        gives_up.cancel()
        story.wait(1.8)
        waits = process.start(hub.ensure_subscribed(["group:g"]), "another")
        story.wait(0.3)
    story.until(waits.done)
    assert not waits.cancelled()
    waits.result()


def removed_and_added_again(story: Story, group: str, person: Person) -> None:
    """Remove and add somebody at once, with a message behind it; return before the gateway knows who is a member."""
    with story.fault():
        story.chat.faults.begin(Fault.SLOW, "GetUserGroups", seconds=0.2)
        story.remove(group, person)
        story.add(group, person)
        story.until(lambda: person.saw("group_left", group_id=group))
        story.post(group, "behind the removal")
        story.wait(0.1)
        story.chat.faults.end()


@history(
    Bug(
        "a connection that has ended is subscribed all the same",
        "9ecb392",
        """
        chatws/socket/subscriptions.py
        - if self._has_ended:
        -     self._hub.unsubscribe_all(self)
        + pass
        chatws/socket/subscriptions.py
        - self._reconciling.cancel()
        """,
    ),
)
def test_connection_that_ends_while_subscribing_is_forgotten(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(bob, ann)
    removed_and_added_again(story, group, ann)
    with story.fault(), story.stalled(story.gateway().process, hears=True):
        story.wait(0.5)
        ann.is_away()
        story.wait(0.5)
    ann.returns()


@history(
    Bug(
        "what came behind a tail goes out without the tail",
        "4e403a7",
        """
        chatws/socket/subscriptions.py
        - return subscribed
        + return [one for one in subscribed if one.feed in received]
        """,
    ),
)
def test_removed_while_another_tail_is_read(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    first, second = sorted([story.group(bob, ann), story.group(bob, ann)])
    ann.is_away()
    for group in (first, second):
        bob.say(group, "while ann is away")
    story.until(lambda: len(bob.texts) == 2)
    ann.returns()
    story.until(lambda: story.receives(ann, first) and not story.receives(ann, second), within=10)
    with story.fault(), story.stalled(story.gateway().process, hears=True):
        story.post(first, "while the second tail is read")
        story.until(lambda: bob.read("while the second tail is read"))
        story.remove(first, ann)
        story.until(lambda: bob.saw("group_member", change="removed"))
    story.until(lambda: ann.saw("group_left", group_id=first))
    assert ann.texts.count("while the second tail is read") == 1


@history(
    Bug(
        "the change of a group during a subscription is missed",
        "4e403a7, 0dc16d0",
        """
        realtime/aio/coalesce.py
        - while self._wanted:
        + if self._wanted:
        """,
    ),
)
def test_added_to_a_group_while_another_is_subscribed(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    first, second = story.group(bob, ann), story.group(bob)
    removed_and_added_again(story, first, ann)
    with story.fault(), story.stalled(story.gateway().process, hears=True):
        story.wait(0.5)
        story.add(second, ann)
        story.wait(0.5)


HELD = Bug(
    "what is held goes out before its reply",
    "ea75120",
    """
            realtime/connection/outbox.py
            - return self.closing is None and self._held is None and not self._blocked and not self._waiting
            + return self.closing is None and not self._blocked and not self._waiting
        """,
)
HELD_AT_CLOSE = Bug(
    "what is held goes out without its reply",
    "faee082",
    """
            realtime/connection/outbox.py
            - waiting.extend(one for one in self._held or () if not (one.batch.live or one.batch.ephemeral))
            + waiting.extend(self._held or ())
        """,
)


def resumes_slowly(story: Story) -> Person:
    """Have ann resume her own feed, in which she missed a notification; return before the tail of a group is read."""
    ann, bob = story.people_of("ann", "bob")
    group = story.group(bob, ann)
    ann.is_away()
    bob.say(group, "while ann is away")
    story.chat.notify(ann.user_id, title="while ann is away")
    story.until(lambda: bob.read("while ann is away"))
    ann.returns()
    story.until(lambda: story.receives(ann) and not story.receives(ann, group))
    return ann


@history(HELD)
def test_notification_waits_behind_the_reply_that_is_prepared(story: Story) -> None:
    ann = resumes_slowly(story)
    with story.fault(), story.stalled(story.gateway().process, hears=True):
        story.chat.notify(ann.user_id, title="while the tail is read")
        story.wait(0.5)
    story.until(lambda: len(ann.saw("notification")) == 2)


@history(HELD_AT_CLOSE)
def test_close_sends_nothing_held_for_a_reply(story: Story) -> None:
    ann = resumes_slowly(story)
    with story.fault(), story.stalled(story.gateway().process, hears=True):
        story.chat.notify(ann.user_id, title="while the tail is read")
        story.wait(0.5)
        story.gateway().node.connections[story.connection(ann).connection_id].send_away(1)
        story.wait(0.5)
    story.until(lambda: len(ann.saw("notification")) == 2)


@history(
    Bug(
        "resuming a lot uses up what the hub let go",
        "6e8520a",
        """
        realtime/hub/resume.py
        - self.feeds += 1
        """,
    ),
)
def test_added_again_after_resuming_as_much_as_possible(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(bob, ann)
    story.connection(ann).handler.session.subscriptions._resume.feeds = 0  # as if it had resumed 400 feeds
    removed_and_added_again(story, group, ann)
    story.until(lambda: ann.read("behind the removal"))


@history(
    Bug(
        "the times of publications that are not delivered pile up",
        "1b9156c",
        """
        realtime/hub/hub.py
        + if at:
        +     self._entered.append(at)
          if follows_on and feed.fill is None:
        """,
    ),
)
def test_layer_repeats_a_publication(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    hub, process = story.gateway().node.hub, story.gateway().process
    sound = hub._publication

    def publication(*given: Any) -> None:
        sound(*given)
        process.loop.call_later(0.1, sound, *given)

    vars(hub)["_publication"] = publication
    story.post(group, "once")
    story.wait(1)
    assert bob.texts == ["once"]
    assert not hub._entered


@history(
    Bug(
        "overflow and resume chase each other",
        "68a05f9",
        """
        realtime/connection/outbox.py
        - self.tail_size += batch.size
        - waiting.append(Waiting(batch, is_tail=True))
        + self._waiting_size += batch.size
        + waiting.append(Waiting(batch))
        """,
    ),
    realtime={"outbox_bytes": 20_000},
    buffer=4_000,
)
def test_slow_reader_resumes_more_than_its_outbox_holds(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(bob, ann)
    ann.is_away()
    for number in range(40):
        story.post(group, f"{number} {'x' * 1_000}")
    story.until(lambda: len(bob.texts) == 40)
    with story.fault("a slow reader", budget=10.0):
        ann.read_slowly(20_000)
        ann.returns()
        story.until(lambda: story.receives(ann, group))
        story.post(group, "live")
        story.until(lambda: ann.read("live"))
    assert ann.closes == []


@history(
    Bug(
        "group_joined overtakes publications that its position includes",
        "88dfa42",
        """
        realtime/hub/hub.py
              return None
        - self._flush(feed)
          return feed.position
        """,
    ),
)
def test_join_in_the_turn_of_a_publication(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    hub, process = story.gateway().node.hub, story.gateway().process
    subscriptions, sound = story.connection(ann).handler.session.subscriptions, hub._publication
    turn = process.loop.create_future()

    async def join_again() -> None:
        await turn
        await subscriptions.join(group, None, "again")

    def publication(*given: Any) -> None:
        if not turn.done():
            turn.set_result(None)
        sound(*given)

    joining = process.start(join_again(), "a join_group")
    vars(hub)["_publication"] = publication
    story.post(group, "in the same turn")
    story.until(joining.done)
    story.until(lambda: ann.read("in the same turn"))

"""Histories of how many chat groups a connection receives, of large and of disbanded ones."""

import itertools

from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.story import Story


@history(
    Bug(
        "each removal from a large group is told to each member who is left",
        "7021a7a",
        """
        chatws/membership/registry.py
        - MANY_REMOVALS, REMOVALS_SECONDS = 20, 60.0
        + MANY_REMOVALS, REMOVALS_SECONDS = 10**9, 60.0
        """,
    ),
)
def test_group_of_fifty_is_disbanded(story: Story) -> None:
    members = story.people_of(*(f"member {number}" for number in range(50)))
    group = story.group(*members)
    for person in members:
        person.frames.clear()
    with story.fault(budget=5.0):
        story.disband(group)
        story.until(lambda: all(person.saw("group_left") for person in members), within=10)
    told = sum(len(person.saw("group_member", change="removed")) for person in members)
    assert told < 45 * 25, told


@history(
    Bug(
        "a disbanded group that is listed stays its members'",
        "84f5b98",
        """
        chatws/chat_service/port.py
        - alive |= {group.group_id for group in page.items if group.status != DISBANDED}
        + alive |= {group.group_id for group in page.items}
        """,
    ),
)
def test_disbanded_group_that_is_still_listed(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    vars(story.chat.rules)["_alive_memberships"] = story.chat.store.memberships_as_of
    story.disband(group)
    story.until(lambda: bob.saw("group_left"))


@history(
    Bug(
        "who was ever in a disbanded group that is counted gets no groups",
        "d12e2ef",
        """
        chatws/chat_service/port.py
        - if ids == before or totals == {listed}:
        + if totals == {listed}:
        """,
    ),
    platform=True,
)
def test_disbanded_group_that_is_counted(story: Story) -> None:
    group, disbanded = (story.chat.create(story.user_of("ann"), story.user_of("bob")) for _ in range(2))
    story.chat.disband(disbanded)
    (ann,) = story.people_of("ann")
    assert ann.groups == {group}


@history(
    Bug(
        "a group that is left between two pages hides another",
        "aade6a2",
        """
        chatws/chat_service/port.py
        - totals.add(page.total)
        + totals = {page.total}
        """,
    ),
)
def test_group_is_left_between_two_pages(story: Story) -> None:
    groups = [story.chat.create(story.user_of("bob"), story.user_of("ann")) for _ in range(101)]
    story.wait(1)

    pages = itertools.count(1)

    def leaves(method: str, request: object) -> None:
        if next(pages) != 3:  # the first page of the second reading, which is the one that counts
            return
        story.chat.after_page = None
        story.chat.store.leave(story.chat.store.groups[groups[60]], story.user_of("ann"))

    story.chat.after_page = leaves
    (ann,) = story.people_of("ann")
    assert ann.groups == {*groups[:60], *groups[61:]}


@history(
    Bug(
        "made-up groups that are left are remembered",
        "7021a7a",
        """
        chatws/socket/subscriptions.py
        - if group_id in known if known is not None else len(self._left) < MAX_LEFT:
        -     self._left.add(group_id)
        + self._left.add(group_id)
        """,
    ),
)
def test_leaving_made_up_groups_leaves_nothing(story: Story) -> None:
    (ann,) = story.people_of("ann")
    for number in range(20):
        ann.leave(f"made-up-{number}")
    story.wait(1)
    assert not story.connection(ann).handler.session.subscriptions._left


@history(
    Bug(
        "a gateway subscribes to groups over the limit",
        "7021a7a",
        """
        chatws/membership/membership.py
        - if len(groups) <= self._max_followed:
        + if True:
        """,
    ),
    realtime={"groups_per_connection": 3},
)
def test_user_in_more_groups_than_a_connection_receives(story: Story) -> None:
    story.is_limited = True
    for _ in range(6):
        story.chat.create(story.user_of("ann"))
    story.people_of("ann")
    assert len(story.gateway().node.hub._feeds) == 1 + 3


@history(
    Bug(
        "a group that was joined at the limit is lost with its log",
        "d846584",
        """
        chatws/membership/membership.py
        - rest = sorted(groups - kept, key=lambda group_id: (group_id not in self._followed_before, group_id))
        + rest = sorted(groups - kept, key=lambda group_id: group_id)
        """,
    ),
    realtime={"groups_per_connection": 2},
)
def test_group_joined_at_the_limit_survives_a_flush(story: Story) -> None:
    story.is_limited = True
    groups = sorted(story.chat.create(story.user_of("ann")) for _ in range(4))
    (ann,) = story.people_of("ann")
    story.until(ann.leave(groups[0]).done)
    story.until(ann.join(groups[3]).done)
    story.flush()
    story.wait(12)
    story.post(groups[3], "after the flush")
    story.until(lambda: ann.read("after the flush"))


@history(
    Bug(
        "a group that was left at the limit comes back",
        "d846584",
        """
        chatws/socket/subscriptions.py
        - self._left &= self.membership.known or frozenset()
        + self._left &= groups
        """,
    ),
    realtime={"groups_per_connection": 2},
)
def test_group_left_at_the_limit_stays_left(story: Story) -> None:
    story.is_limited = True
    first, second, third = sorted(story.chat.create(story.user_of("bob"), story.user_of("ann")) for _ in range(3))
    (ann,) = story.people_of("ann")
    for answer in (ann.leave(first), ann.join(third)):
        story.until(answer.done)
    story.remove(second, ann)  # now there is room for the first one again
    story.until(lambda: ann.saw("group_left", group_id=second))
    story.wait(1)
    assert not story.receives(ann, first)


@history(
    Bug(
        "who is over the limit is told so at each change",
        "84f5b98",
        """
        chatws/socket/subscriptions.py
        - if over_limit and over_limit != self._over_limit:
        + if over_limit:
        """,
    ),
    realtime={"groups_per_connection": 2},
    chat={"membership_seconds": 5.0},
)
def test_user_over_the_limit_is_told_once(story: Story) -> None:
    story.is_limited = True
    for _ in range(4):
        story.chat.create(story.user_of("ann"))
    (ann,) = story.people_of("ann")
    story.wait(15)
    assert len(ann.saw("error", code=429)) == 1

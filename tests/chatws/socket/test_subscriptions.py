"""Check what a connection remembers of the chat groups that its client left."""

from types import SimpleNamespace
from typing import Any

from chatws.socket.subscriptions import MAX_LEFT, Subscriptions


def subscriptions_of(membership: Any) -> Subscriptions:
    """Return the subscriptions of a connection that receives no chat group."""
    client: Any = SimpleNamespace(outbox=SimpleNamespace(write=None))
    memberships: Any = SimpleNamespace(enter=lambda *_: membership)
    hub: Any = SimpleNamespace(unsubscribe=lambda *_: False)
    return Subscriptions(client, 7, memberships, hub, lambda group_id: None)


def test_only_groups_of_the_user_are_remembered_as_left() -> None:
    noted: list[str] = []
    membership = SimpleNamespace(known=frozenset({"own"}), mark_incomplete=lambda: noted.append("incomplete"))
    subscriptions = subscriptions_of(membership)
    for group_id in ("own", *(f"made-up-{number}" for number in range(100))):
        subscriptions.leave(group_id)
    assert (subscriptions._left, noted) == ({"own"}, [])


def test_groups_left_before_the_user_s_are_known_are_bounded() -> None:
    subscriptions = subscriptions_of(SimpleNamespace(known=None))
    for number in range(MAX_LEFT + 100):
        subscriptions.leave(f"made-up-{number}")
    assert len(subscriptions._left) == MAX_LEFT

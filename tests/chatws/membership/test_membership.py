"""Check membership lookups: a bounded number at once, and one per user."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from chatws.chat_service.port import DISBANDED, ChatServiceError, Group, Page, all_user_group_ids, error_of
from chatws.membership import registry
from chatws.membership.membership import Membership
from chatws.membership.registry import Memberships
from realtime.aio import tasks
from realtime.conf import RealtimeConf
from tests.support.hub import Listener as HubSubscriber
from tests.support.hub import World
from tests.support.redis import Redis
from tests.support.waiting import until


class ChatService:
    """A chat service without groups that counts concurrent lookups."""

    def __init__(self) -> None:
        self.asking = self.most = self.asked = 0

    async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Any]:
        self.asking += 1
        self.asked += 1
        self.most = max(self.most, self.asking)
        await asyncio.sleep(0.001)
        self.asking -= 1
        return Page([], 0)


class Hub:
    openings = 0

    def listen(self, listener: Any) -> None: ...

    async def ensure_subscribed(self, names: Any) -> None: ...

    def feeds_of(self, subscriber: Any) -> set[str]:
        return set()


class Listener(HubSubscriber):
    def membership_changed(self) -> None: ...


async def test_lookups_are_paced_and_made_once_per_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "CALLS_AT_ONCE", 5)
    chat = ChatService()
    memberships = Memberships(chat, Hub())  # type: ignore[arg-type]
    users = [memberships.enter(user_id, Listener()) for user_id in range(1, 61)]
    for user in users * 3:
        user.refresh_in_background()
    await asyncio.gather(*(user.refreshed() for user in users))
    assert all(user.groups == frozenset() for user in users)
    assert chat.most == 5
    assert chat.asked <= 2 * len(users)


async def test_second_device_uses_cached_groups_while_complete() -> None:
    chat = ChatService()
    memberships = Memberships(chat, Hub())  # type: ignore[arg-type]
    user = memberships.enter(1, Listener())
    await user.ensure_fresh()
    await memberships.enter(1, Listener()).ensure_fresh()
    assert chat.asked == 1
    user.removed("g")  # after a removal the next connection waits for the lookup
    await user.ensure_fresh()
    assert user.groups == frozenset()
    asked = chat.asked
    assert asked > 1
    await user.refreshed()
    asked = chat.asked
    user.mark_incomplete()
    for _ in range(2):
        await user.ensure_fresh()
    assert chat.asked == asked + 2


async def test_second_device_asks_while_a_lookup_is_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = ChatService()
    memberships = Memberships(chat, Hub())  # type: ignore[arg-type]
    user = memberships.enter(1, Listener())
    await user.ensure_fresh()
    failed = asyncio.Event()

    async def away(user_id: int, page: int, page_size: int) -> Page[Any]:
        failed.set()
        raise error_of(503, "away")

    monkeypatch.setattr(chat, "user_groups", away)
    user.refresh_in_background()  # an event may have been missed
    await failed.wait()
    for _ in range(5):
        await asyncio.sleep(0)  # the lookup has failed, the next one waits
    with pytest.raises(ChatServiceError):
        await user.ensure_fresh()
    user.listeners.clear()
    monkeypatch.undo()
    await user.refreshed()


async def test_timer_checks_connected_users_in_turn() -> None:
    chat = ChatService()
    memberships = Memberships(chat, Hub(), every=0.2)  # type: ignore[arg-type]
    here, gone = Listener(), Listener()
    asked: list[int] = []
    times: list[float] = []
    answer = chat.user_groups

    async def user_groups(user_id: int, page: int, page_size: int) -> Page[Any]:
        asked.append(user_id)
        times.append(asyncio.get_running_loop().time())
        return await answer(user_id, page, page_size)

    chat.user_groups = user_groups  # type: ignore[method-assign]
    began = asyncio.get_running_loop().time()
    for user_id in range(1, 26):
        memberships.enter(user_id, here)
    memberships.enter(99, gone)
    memberships.leave(99, gone)
    await until(lambda: len(asked) >= 75, what="three rounds")
    await memberships.stop()
    assert set(asked) == set(range(1, 26))
    assert min(times) - began >= 0.2, "who has just come is known"
    assert times[74] - began >= 0.6, "three rounds take three times as long"


async def test_every_user_gets_a_turn_between_reconnects() -> None:
    """A channel layer that keeps losing its connection must not have the same users refreshed again and again."""
    chat = ChatService()
    memberships = Memberships(chat, Hub())  # type: ignore[arg-type]
    asked: list[int] = []
    answer = chat.user_groups

    async def user_groups(user_id: int, page: int, page_size: int) -> Page[Any]:
        asked.append(user_id)
        if len(asked) % registry.REFRESHED_AT_ONCE == 0 and len(asked) <= 40:
            memberships.reconnected()
        return await answer(user_id, page, page_size)

    chat.user_groups = user_groups  # type: ignore[method-assign]
    here = Listener()
    for user_id in range(1, 31):
        memberships.enter(user_id, here)
    memberships.reconnected()
    await until(lambda: len(asked) >= 30, what="three batches")
    assert set(asked[:30]) == set(range(1, 31))
    await until(lambda: len(asked) >= 70, what="everybody again after the last reconnect")
    assert set(asked[40:]) == set(range(1, 31))
    await memberships.stop()


async def test_disbanded_group_is_left_before_every_removal_has_come() -> None:
    chat, asked = ChatService(), 0

    async def group_info(group_id: str) -> Any:
        nonlocal asked
        asked += 1
        return SimpleNamespace(status=2)

    chat.group_info = group_info  # type: ignore[attr-defined]
    changed: list[int] = []

    class Counting(Listener):
        def membership_changed(self) -> None:
            changed.append(1)

    memberships = Memberships(chat, Hub())  # type: ignore[arg-type]
    users = [memberships.enter(user_id, Counting()) for user_id in range(1, 201)]
    for user in users:
        user.groups = frozenset({"g", "other"})
    for user in users[: registry.MANY_REMOVALS + 5]:
        memberships.user_removed(user.user_id, "group:g")
    await until(lambda: all("g" not in (user.groups or ()) for user in users), what="all have left")
    assert asked == 1
    assert changed
    await asyncio.gather(*(user.refreshed() for user in users))
    await memberships.stop()


async def test_disbanded_group_is_left_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of members who leave in one turn of the loop would delay everybody else's frames."""
    turn, left_in = 0, Counter[int]()
    ended = Membership.ended

    def noted(self: Membership, group_id: str) -> None:
        left_in[turn] += 1
        ended(self, group_id)

    async def take_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def group_info(group_id: str) -> Any:
        return SimpleNamespace(status=DISBANDED)

    monkeypatch.setattr(Membership, "ended", noted)
    chat = ChatService()
    chat.group_info = group_info  # type: ignore[attr-defined]
    memberships = Memberships(chat, Hub())  # type: ignore[arg-type]
    for user_id in range(1, 4 * registry.ENDED_AT_ONCE):
        memberships.enter(user_id, Listener()).groups = frozenset({"g"})
    turns = tasks.spawn(take_turns(), "taking turns")
    await memberships._end_if_disbanded("g")
    await tasks.end([turns])
    assert left_in.total() == 4 * registry.ENDED_AT_ONCE - 1
    assert max(left_in.values()) <= registry.ENDED_AT_ONCE
    await memberships.stop()


@pytest.mark.parametrize(("code", "left"), [(403, False), (404, True), (503, False)])
async def test_only_a_group_that_is_gone_is_left_by_all(code: int, left: bool) -> None:
    chat = ChatService()

    async def group_info(group_id: str) -> Any:
        raise error_of(code, "of the chat service")

    chat.group_info = group_info  # type: ignore[attr-defined]
    memberships = Memberships(chat, Hub())  # type: ignore[arg-type]
    user = memberships.enter(1, Listener())
    user.groups = frozenset({"g"})
    await memberships._end_if_disbanded("g")
    assert ("g" not in user.groups) == left
    await user.refreshed()
    await memberships.stop()


def group(group_id: str, status: int) -> Group:
    return Group(group_id, 0, "", 1, status, 500, 1, 0, 1, 0, "", 0, "", "")


async def test_listed_disbanded_group_is_ignored() -> None:
    class Lists:
        async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Group]:
            return Page([group("alive", 1), group("disbanded", 2)], 2)

    assert await all_user_group_ids(Lists(), 1) == {"alive"}  # type: ignore[arg-type]


async def test_group_is_followed_until_the_last_connection_has_joined(redis: Redis, conf: RealtimeConf) -> None:
    world = World(redis, conf)
    world.hub.start()
    chat = ChatService()

    async def user_groups(user_id: int, page: int, page_size: int) -> Page[Any]:
        return Page([SimpleNamespace(group_id=name, status=1) for name in "ab"], 2)

    chat.user_groups = user_groups  # type: ignore[method-assign]
    user = Memberships(chat, world.hub, max_followed=1).enter(1, Listener())  # type: ignore[arg-type]
    try:
        with user.joining("b"):
            with user.joining("b"):
                pass  # another connection of the user ends its join
            await user.refresh()
            assert user.groups == frozenset("b")
        user.removed("b")  # its log is lost: no connection receives it until the chat service has answered
        await user.refreshed()
        assert user.groups == frozenset("b")
    finally:
        await world.stop()


async def test_feed_opened_during_the_call_makes_it_repeat(redis: Redis, conf: RealtimeConf) -> None:
    """A removal between the chat service's answer and the opening would be missed."""
    world = World(redis, conf)
    world.hub.start()
    chat = ChatService()
    calls: list[int] = []

    async def user_groups(user_id: int, page: int, page_size: int) -> Page[Any]:
        calls.append(user_id)
        if len(calls) == 1:  # another user of this gateway subscribes while the chat service answers
            await world.hub.subscribe(HubSubscriber(), ["group:g"])
        return Page([SimpleNamespace(group_id="g", status=1)], 1)

    chat.user_groups = user_groups  # type: ignore[method-assign]
    user = Memberships(chat, world.hub).enter(1, Listener())  # type: ignore[arg-type]
    assert await user.refresh() == {"g"}
    assert len(calls) == 2
    await user.refresh()
    assert len(calls) == 3
    await world.stop()

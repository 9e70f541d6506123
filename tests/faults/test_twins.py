"""Each guard of delivery and its twin: a scenario keeps every promise with the guard and breaks one without it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from realtime.conf import RealtimeConf
from realtime.relay.publisher import Publisher
from tests.faults.guards import judging
from tests.faults.guards.hub import (
    joined_in_the_turn_of_a_publication,
    layer_drops_some,
    layer_drops_the_last,
    layer_repeats_itself,
    published_before_redis_subscribed,
    redis_goes_back,
    without_drop_old,
    without_flush,
    without_gap_fill,
    without_going_back_check,
    without_position_check,
    without_recheck,
)
from tests.faults.guards.judging import SHORT_PATIENCE, Patch
from tests.faults.guards.log import (
    late_worker_appends_again,
    removal_in_the_user_feed,
    removed_while_the_user_feed_is_silent,
    resent_in_a_busy_feed,
    with_ids_bounded_by_the_log,
    without_cursor,
)
from tests.support.hub import World
from tests.support.redis import Redis


@dataclass(frozen=True)
class Guard:
    """A guard, the scenario that needs it, how to disable it, and the broken promise then."""

    name: str
    scenario: Callable[[World, Patch], Awaitable[set[str]]]
    off: Callable[[Patch], None]
    breaks: str
    layer: str = "ours"


GUARDS = [
    Guard("drop-old", layer_repeats_itself, without_drop_old, "repeated"),
    Guard("gap fill", layer_drops_some, without_gap_fill, "gap"),
    Guard("position check", layer_drops_the_last, without_position_check, "lost"),
    Guard("recheck after group_add", published_before_redis_subscribed, without_recheck, "lost", layer="stock"),
    Guard("flush before join", joined_in_the_turn_of_a_publication, without_flush, "repeated"),
    Guard("cursor in the append", late_worker_appends_again, without_cursor, "repeated"),
    Guard("ids outliving the log", resent_in_a_busy_feed, with_ids_bounded_by_the_log, "repeated"),
    Guard("removal in the group's feed", removed_while_the_user_feed_is_silent, removal_in_the_user_feed, "leaked"),
    Guard("going-back check", redis_goes_back, without_going_back_check, "lost without a word"),
]  # fmt: skip


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
@pytest.mark.parametrize("on", [True, False], ids=["with", "without"])
async def test_guard(guard: Guard, on: bool, redis: Redis, conf: RealtimeConf, monkeypatch: Patch) -> None:
    if not on:
        guard.off(monkeypatch)
        monkeypatch.setattr(judging, "PATIENCE", SHORT_PATIENCE)
    world = World(redis, conf, guard.layer)
    world.publisher = Publisher(world.log, world.layer)
    world.hub.start()
    try:
        found = await guard.scenario(world, monkeypatch)
    finally:
        await world.stop()
    if on:
        assert found == set()
    else:
        assert guard.breaks in found

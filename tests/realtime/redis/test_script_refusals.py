"""Scripts that Redis refuses, because it is full or takes no writes: nothing is half done, and the next call works."""

from typing import Any

import pytest

from realtime.conf import RealtimeConf
from realtime.exceptions import RedisUnavailable
from realtime.feeds import log
from realtime.presence import presence
from realtime.publishing import intents
from tests.realtime.redis.test_script_stops import CASES, Case, contents

REFUSALS = {"full": ("maxmemory", "1", "0"), "without replicas": ("min-replicas-to-write", "1", "0")}
"""The name of an option of Redis, its value while Redis refuses writes, and its usual value."""


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    for module in (log, presence):
        monkeypatch.setattr(module, "new_epoch", lambda: "e")
    monkeypatch.setattr(intents, "LEASE_MS", 600_000)
    return CASES[request.param]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_refused_script_changes_nothing(case: Case, refusal: str, redis: Any, conf: RealtimeConf) -> None:
    await (await case.prepare(redis, conf))()
    wanted = await contents(redis)
    await redis.flushall()
    act = await case.prepare(redis, conf)
    before = await contents(redis)
    option, refusing, usual = REFUSALS[refusal]
    await redis.config_set(option, refusing)
    try:
        with pytest.raises(RedisUnavailable):
            await act()
    finally:
        await redis.config_set(option, usual)
    assert await contents(redis) == before
    await act()
    assert await contents(redis) == wanted

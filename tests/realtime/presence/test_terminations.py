"""Check termination requests on a real Redis: read once by each gateway, bounded, and after Redis lost data."""

from typing import Any

import pytest

from realtime.ids import new_connection_id
from realtime.presence import terminations
from realtime.presence.terminations import AT_ONCE, MAX_ID, Terminations
from realtime.redis import keys


class Layer:
    """A channel layer that delivers nothing: hints only make requests faster."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


@pytest.fixture
def asking(redis: Any) -> Terminations:
    return made(redis)


def made(redis: Any) -> Terminations:
    layer: Any = Layer()
    return Terminations(redis, layer)


async def test_each_gateway_reads_each_request_once(redis: Any, asking: Terminations) -> None:
    one, other = made(redis), made(redis)
    await asking.ask(["a", "b"], 4403)
    assert await one.news() == {"a": 4403, "b": 4403}
    await asking.ask(["c"], 4409)
    assert await one.news() == {"c": 4409}
    assert await one.news() == {}
    assert await other.news() == {"a": 4403, "b": 4403, "c": 4409}


async def test_gateway_reads_nothing_while_there_is_nothing_new(redis: Any, asking: Terminations) -> None:
    await asking.ask([new_connection_id() for _ in range(AT_ONCE)], 4403)
    one = made(redis)
    assert len(await one.news()) == AT_ONCE
    before = (await redis.info("stats"))["total_net_output_bytes"]
    assert await one.news() == {}
    assert (await redis.info("stats"))["total_net_output_bytes"] - before < 20_000, "one entry, and the figures"


async def test_requests_come_in_pages(redis: Any, asking: Terminations) -> None:
    names = [new_connection_id() for _ in range(2 * AT_ONCE + 1)]
    await asking.ask(names, 4403)
    pages = [await asking.news() for _ in range(4)]
    assert [len(page) for page in pages] == [AT_ONCE, AT_ONCE, 1, 0]
    assert [name for page in pages for name in page] == names


async def test_stream_of_requests_is_bounded_in_bytes(
    redis: Any, asking: Terminations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminations, "MAX_REQUESTS", 5_000)
    await asking.ask(["x" * (MAX_ID + 1), *(new_connection_id() for _ in range(20_000))], 4409)
    assert await redis.memory_usage(keys.terminations(), samples=0) < 5_000 * 50
    assert 0 < await redis.ttl(keys.terminations()) <= terminations.KEPT_SECONDS


async def test_request_of_a_redis_whose_clock_went_back_is_read(redis: Any, asking: Terminations) -> None:
    await redis.xadd(keys.terminations(), {"a": 4403}, id="9999999999999-0")
    assert await asking.news() == {"a": 4403}
    await redis.flushall()
    assert await asking.news() == {}
    await asking.ask(["b"], 4403)
    assert await asking.news() == {"b": 4403}
    assert await asking.news() == {}

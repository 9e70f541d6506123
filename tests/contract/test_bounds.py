"""Check what a client can make the system store: each is bounded in bytes."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis as redis_py

from realtime.audit.events import FIELD, Event, Opened
from realtime.audit.events import parse as parse_event
from realtime.redis import keys
from tests.conftest import Connect
from tests.support.chat import new_user
from tests.support.client import connect, make_token
from tests.support.scrape import scraped
from tests.support.stack import Gateway, Stack

FRAMES: dict[str, dict[str, Any]] = {
    "send_message": {"msg_type": 1, "content": "x"}, "join_group": {"resume": {"epoch": "e", "offset": 1}},
    "leave_group": {}, "mark_read": {"message_id": "m"}, "typing": {"typing": True}, "presence": {}, "history": {},
}  # fmt: skip
"""Every frame that names a chat group, without it."""


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start a Redis for one gateway; no relay takes what the gateway writes."""
    stack = Stack(tmp_path_factory.mktemp("alone"))
    try:
        stack.redis.start()
        stack.migrate()
        yield stack
    finally:
        stack.stop()


def recorded(stack: Stack) -> list[Event]:
    """Return the events of connections in Redis."""
    with redis_py.Redis.from_url(stack.redis.url) as client:
        entries: Any = client.xrange(keys.audit_stream())
    return [event for entry_id, fields in entries for event in parse_event(entry_id.decode(), {FIELD: fields[FIELD]})]


async def test_unauthenticated_flood_buys_few_short_records(alone: Stack) -> None:
    gateway: Gateway = alone.start_gateway(probe="health", CHATWS_AUDIT_UNAUTHENTICATED_PER_MINUTE="1")
    long = "x" * 8_000
    flood = [await connect(gateway.ws, user_agent_header=long) for _ in range(50)]
    refused = [await connect(f"{gateway.ws}?token=bad", user_agent_header=long) for _ in range(10)]
    assert [await client.closed() for client in refused] == [4401] * 10
    user = new_user()
    assert (await flood[-1].ask("auth", {"token": make_token(user)}))["type"] == "auth_success"
    for client in flood:
        await client.close()
    await scraped(
        f"{gateway.http}/metrics",
        lambda seen: seen.total("chatws_audit_dropped_total", reason="unauthenticated") >= 57,
    )
    gateway.stop()  # it writes the rest of the audit
    opened = [event for event in recorded(alone) if isinstance(event, Opened)]
    assert 2 <= len(opened) <= 3, "one within the limit, perhaps another a minute later, and the user's"
    assert {event.user_agent for event in opened} == {long[:256]}


@pytest.mark.parametrize("publisher", ["rpc", "gateway"])
async def test_made_up_groups_leave_nothing_in_redis(stack: Stack, log_in: Connect, publisher: str) -> None:
    gateway = stack.start_gateway(CHATWS_MESSAGE_PUBLISHER=publisher)
    user, made_up = new_user(), [f"made-up-{new_user()}" for _ in range(20)]
    client = await log_in(user, gateway.ws)
    for group in made_up:
        for kind, data in FRAMES.items():
            answer = await client.ask(kind, {"group_id": group, **data})
            assert answer["type"] == "group_left" or answer["data"]["code"] == 403
    resumed = await connect(gateway.ws)
    points = {f"group:{group}": {"epoch": "e", "offset": 1} for group in made_up}
    assert (await resumed.ask("auth", {"token": make_token(user), "resume": points}))["type"] == "auth_success"
    with redis_py.Redis.from_url(stack.redis.url) as client_of_redis:
        found: Any = client_of_redis.keys("*made-up-*")
        assert found == []
        channels: Any = client_of_redis.pubsub_channels("*made-up-*")
        assert channels == []


async def test_clients_cannot_add_metrics(stack: Stack) -> None:
    gateway = stack.start_gateway()
    await choose_labels(gateway, "first")
    before = await series(gateway)
    for name in ("second", "third", "fourth"):
        await choose_labels(gateway, name)
    assert await series(gateway) == before


async def choose_labels(gateway: Gateway, name: str) -> None:
    """Send what a metric might take as a label: a frame's type, a path, a method, a close code."""
    client = await connect(f"{gateway.ws}?token={make_token(new_user(), role=name)}")
    assert (await client.expect("auth_success"))["data"]["groups"] == []
    await client.ask(f"type-{name}")
    await client.socket.close(code=3_000 + len(name) * 7, reason=name)
    async with httpx.AsyncClient(base_url=gateway.http) as http:
        for method in ("GET", "DELETE", f"METHOD{name.upper()}"):
            await http.request(method, f"/{name}/{new_user()}", headers={"Host": f"{name}.example"})


async def series(gateway: Gateway) -> set[tuple[object, ...]]:
    """Return the names and labels of the gateway's metrics, without those of histograms' limits."""
    seen = await scraped(f"{gateway.http}/metrics", lambda seen: seen.total("chatws_connections") == 0)
    return {(sample.name, *sorted(sample.labels.items())) for sample in seen.samples}

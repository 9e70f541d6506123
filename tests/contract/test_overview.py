"""Check the admin's overview on the whole chat: gateways, closes, dead letters, lag, and each source unavailable."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.contract.test_admin import LIST, Admin
from tests.contract.test_revocation import welcomed
from tests.support.chat import new_user
from tests.support.client import make_token
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT, until_answer

pytestmark = pytest.mark.database

Seen = dict[str, Any]
TOPIC = "chat.message.new"


class Glances:
    """The overview's data, requested repeatedly as the admin's index does."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self) -> httpx.Response:
        return await self._http.get(f"{LIST}overview/")

    async def look(self) -> Seen:
        answer = await self.ask()
        assert answer.status_code == 200, answer.text
        seen: Seen = answer.json()
        return seen

    async def until(self, part: Callable[[Seen], Any], wanted: Any) -> Seen:
        """Return the data once a part is as wanted; on a busy machine a source may be unavailable for a while."""
        return await until_answer(self.look, lambda seen: part(seen) == wanted, f"{wanted!r}")


def by_gateway(seen: Seen) -> dict[str, int]:
    return {gateway["name"]: gateway["connections"] for gateway in seen["online"].get("top", ())}


def by_code(seen: Seen) -> dict[int, int]:
    return {closed["code"]: closed["count"] for closed in seen["closes"].get("top", ())}


def of_topic(seen: Seen) -> tuple[int, int] | None:
    rows = seen["topics"] if isinstance(seen["topics"], list) else []
    return next(((row["lag"], row["dead_letters"]) for row in rows if row["topic"] == TOPIC), None)


def away(seen: Seen) -> set[str]:
    """Return the unavailable parts."""
    return {name for name, part in seen.items() if "away" in part}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Gateway]]:
    """Start a chat with two gateways; return it and the second gateway."""
    stack = Stack(tmp_path_factory.mktemp("pair"))
    try:
        stack.start()
        yield stack, stack.start_gateway()
    finally:
        stack.stop()


@pytest.fixture
async def glances(pair: tuple[Stack, Gateway]) -> AsyncIterator[Glances]:
    async with httpx.AsyncClient(base_url=pair[0].gateway.http, timeout=LIMIT) as http:
        await Admin(http).log_in()
        yield Glances(http)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.ours_only  # plain daphne's limit for a frame is 1 MiB
async def test_connections_count_by_gateway_and_closes_by_code(pair: tuple[Stack, Gateway], glances: Glances) -> None:
    stack, second = pair
    users = [new_user(), new_user()]
    clients = [
        await welcomed(gateway, make_token(user))
        for gateway, user in ((stack.gateway, users[0]), (stack.gateway, users[1]), (second, users[0]))
    ]
    seen = await glances.until(lambda seen: sorted(by_gateway(seen).values()), [1, 2])
    assert {name: seen["online"][name] for name in ("users", "connections", "gateways")} == {
        "users": 2, "connections": 3, "gateways": 2,
    }  # fmt: skip
    await clients[0].close()
    await clients[2].close()
    await clients[1].raw("\ud7ff" * 70_000)  # over the limit of a frame
    await glances.until(by_code, {1000: 2, 1009: 1})
    seen = await glances.until(lambda seen: (sorted(by_gateway(seen).values()), away(seen)), ([0, 0], set()))
    assert seen["online"]["users"] == 0
    assert seen["closes"]["total"] == 3
    assert seen["closes"]["top"][0]["meaning"] == "closed normally"


async def test_each_topic_shows_lag_and_dead_letters(pair: tuple[Stack, Gateway], glances: Glances) -> None:
    stack, _ = pair
    stack.add_entry(TOPIC, {"nonsense": "of this test"})
    seen = await glances.until(of_topic, (0, 1))
    assert [row["topic"] for row in seen["topics"]] == [
        "chat.group.member.added", "chat.group.member.removed", "chat.message.new", "chatws:audit",
        "notification:push", "verify:progress",
    ]  # fmt: skip
    relay = next(process for process in stack.processes if process.name.startswith("relay"))
    with stopped(relay.pid):
        for number in range(3):
            stack.add_entry(TOPIC, {"nonsense": number})
        await glances.until(of_topic, (3, 1))
    await glances.until(of_topic, (0, 4))


async def test_hanging_redis_or_missing_table_costs_only_its_figures(
    pair: tuple[Stack, Gateway], glances: Glances
) -> None:
    stack, _ = pair
    assert stack.redis.process is not None
    with stopped(stack.redis.process.pid):
        seen = await glances.until(away, {"online", "topics"})
        for part in (seen["online"], seen["topics"]):
            assert f"127.0.0.1:{stack.redis.port}" in part["away"]
        assert "total" in seen["closes"]
    await glances.until(away, set())
    stack.query("ALTER TABLE realtime_connectionrecord RENAME TO elsewhere")
    try:
        seen = await glances.until(away, {"closes"})
        assert "the database is unavailable" in seen["closes"]["away"]
        assert seen["online"]["gateways"] == 2
    finally:
        stack.query("ALTER TABLE elsewhere RENAME TO realtime_connectionrecord")
    await glances.until(away, set())


async def test_overview_without_sessions_is_503_and_says_why(pair: tuple[Stack, Gateway], glances: Glances) -> None:
    stack, _ = pair
    stack.query("ALTER TABLE django_session RENAME TO elsewhere")
    try:
        answer = await glances.ask()
    finally:
        stack.query("ALTER TABLE elsewhere RENAME TO django_session")
    assert answer.status_code == 503
    assert answer.json()["away"].startswith("the database is unavailable: ")
    await glances.look()

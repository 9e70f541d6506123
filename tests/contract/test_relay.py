"""Check the relay process on a Redis that loses the relay's state."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from tests.support.stack import Stack
from tests.support.waiting import LIMIT, wait_until

pytestmark = pytest.mark.database


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    try:
        stack.redis.start()
        stack.migrate()
        yield stack
    finally:
        stack.stop()


def message(number: int) -> dict[str, Any]:
    return {"message_id": f"m-{number}", "group_id": "g", "sender_id": 1, "msg_type": 1, "created_at": 1_700_000_000}


@pytest.mark.parametrize("settings", [
    {"CHATWS_RPC_TARGET": "127.0.0.1:1", "CHATWS_OWN_TOPICS": "0"},
    {"CHATWS_RPC_TARGET": "127.0.0.1:1", "CHATWS_OWN_TOPICS": "1"},
    {},
])  # fmt: skip
async def test_relay_warns_of_no_topic_with_an_owner(tmp_path: Path, settings: dict[str, str]) -> None:
    stack = Stack(tmp_path, **settings)
    try:
        stack.redis.start()
        stack.migrate()
        relay = stack.start_relay()
        stack.wait_until_relaying()
        assert "CHATWS_OWN_TOPICS" not in relay.log.read_text()
    finally:
        stack.stop()


def until_relayed(client: redis_py.Redis, count: int) -> None:
    wait_until(lambda: client.llen("chatws:{group:g}:log"), lambda length: length == count, f"{count} are relayed")


def test_cursor_lost_by_redis_is_restored_from_database(stack: Stack) -> None:
    relay = stack.start_relay()
    stack.wait_until_relaying()
    with redis_py.Redis.from_url(stack.redis.url) as client:
        for number in range(3):
            stack.add_entry("chat.message.new", message(number))
        until_relayed(client, 3)
        assert relay.stop(seconds=LIMIT) == 0
        client.delete("chatws:{chat.message.new}:pos")
        for number in range(3, 5):
            stack.add_entry("chat.message.new", message(number))
        stack.start_relay()
        until_relayed(client, 5)


@pytest.mark.timeout(300)  # a relay trims every 30 s
def test_relay_trims_only_its_own_streams(tmp_path: Path) -> None:
    stack = Stack(tmp_path, CHATWS_RPC_TARGET="127.0.0.1:1", CHATWS_OWN_TOPICS="")
    try:
        stack.redis.start()
        stack.migrate()
        relay = stack.start_relay()
        stack.wait_until_relaying()
        [warning] = [line for line in relay.log.read_text().splitlines() if "CHATWS_OWN_TOPICS is not set" in line]
        assert "chat.message.new" in warning
        assert "chatws:audit" not in warning
        with redis_py.Redis.from_url(stack.redis.url) as client:
            client.config_set("stream-node-max-entries", 1)
            for number in range(3):
                stack.add_entry("chat.message.new", message(number))
                client.xadd("chatws:audit", {"event": b"no event"})
            until_relayed(client, 3)
            wait_until(lambda: client.xlen("chatws:audit"), lambda length: length <= 1, "it is trimmed", 2 * LIMIT)
            assert client.xlen("chat.message.new") == 3
    finally:
        stack.stop()

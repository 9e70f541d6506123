"""Check two gateways and two relays on one Redis: single delivery and correct presence, even after `kill -9`."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from realtime.redis import keys
from tests.conftest import Connect
from tests.support.announced import announced
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.redis import connect as connect_redis
from tests.support.scrape import get_json
from tests.support.stack import SERVERS, Gateway, Stack
from tests.support.waiting import until_answer


def get(url: str) -> Any:
    status, answer = get_json(url)
    assert status == 200, answer
    return answer


async def until(url: str, condition: Any) -> Any:
    """Return the JSON at an address once it satisfies the condition."""
    return await until_answer(lambda: asyncio.to_thread(get, url), condition, f"what {url} shall say")


class Cluster:
    def __init__(self, stack: Stack, gateways: list[Gateway], chat: Chat) -> None:
        self.stack = stack
        self.gateways = gateways
        self.chat = chat

    async def log_in(self, gateway: int, user: int) -> Client:
        client = await connect(self.gateways[gateway].ws)
        assert (await client.ask("auth", {"token": make_token(user)}))["type"] == "auth_success"
        return client


@pytest.fixture
async def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """Start two gateways and two relays; a parameter holds additional settings."""
    stack = Stack(tmp_path, **getattr(request, "param", {}))
    try:
        first = stack.start()
        stack.start_relay()
        chat = Chat(stack.rpc_target)
        yield Cluster(stack, [first, stack.start_gateway()], chat)
        await chat.close()
    finally:
        stack.stop()


async def test_users_on_different_gateways_receive_messages_once(cluster: Cluster) -> None:
    alice, bob = new_user(), new_user()
    group = await announced(cluster.stack, await cluster.chat.group(alice, bob), 2)
    clients = [await cluster.log_in(0, alice), await cluster.log_in(1, bob), await cluster.log_in(0, bob)]
    for number in range(20):
        await clients[number % 2].ask("send_message", {"group_id": group, "msg_type": 1, "content": str(number)})
    for client in clients:
        heard = [await client.expect("new_message") for _ in range(20)]
        assert [frame["data"]["content"] for frame in heard] == [str(number) for number in range(20)]
        offsets = [frame["offset"] for frame in heard]
        assert offsets == list(range(offsets[0], offsets[0] + 20))
        assert [frame for frame in await client.settled() if frame["type"] == "new_message"] == []
        await client.close()


async def test_stats_count_users_over_devices_and_gateways(cluster: Cluster) -> None:
    alice, bob = new_user(), new_user()
    stats = f"{cluster.gateways[0].http}/stats"
    status = f"{cluster.gateways[1].http}/api/users/status?user_id={alice}"
    assert get(status)["data"]["is_online"] is False
    devices = [await cluster.log_in(0, alice), await cluster.log_in(1, alice), await cluster.log_in(1, bob)]
    await until(stats, lambda seen: seen == {"online_users": 2, "connections": 3, "nodes": 2})
    await devices[0].close()
    await until(stats, lambda seen: seen == {"online_users": 2, "connections": 2, "nodes": 2})
    online = get(status)["data"]
    assert online["is_online"] is True
    assert online["last_online_at"] > 0
    assert online["last_offline_at"] == 0
    await devices[1].close()
    await until(stats, lambda seen: seen == {"online_users": 1, "connections": 1, "nodes": 2})
    offline = get(status)["data"]
    assert offline["is_online"] is False
    assert offline["last_offline_at"] >= offline["last_online_at"]
    await devices[2].close()


@pytest.mark.parametrize("cluster", [{"CHATWS_PRESENCE_LEASE": "4"}], indirect=True, ids=["short-lease"])
async def test_killed_gateway_leaves_nobody_online_after_the_lease(cluster: Cluster) -> None:
    alice, bob = new_user(), new_user()
    await cluster.log_in(1, alice)
    kept = await cluster.log_in(0, bob)
    stats = f"{cluster.gateways[0].http}/stats"
    await until(stats, lambda seen: seen["online_users"] == 2)
    cluster.gateways[1].kill()
    await until(stats, lambda seen: seen == {"online_users": 1, "connections": 1, "nodes": 1})
    status = get(f"{cluster.gateways[0].http}/api/users/status?user_id={alice}")["data"]
    assert status["is_online"] is False
    assert status["last_offline_at"] > 0
    await kept.close()


@pytest.mark.ours_only
async def test_stopping_gateway_marks_users_offline_and_says_goodbye(cluster: Cluster) -> None:
    client = await cluster.log_in(1, new_user())
    stats = f"{cluster.gateways[0].http}/stats"
    await until(stats, lambda seen: seen["online_users"] == 1)
    assert await asyncio.to_thread(cluster.gateways[1].stop) == 0
    assert get(stats) == {"online_users": 0, "connections": 0, "nodes": 1}
    assert await client.closed() == 4501


async def test_standby_relay_takes_over_from_a_killed_relay(cluster: Cluster) -> None:
    user = new_user()
    group = await cluster.chat.group(user)
    client = await cluster.log_in(0, user)
    relays = [process for process in cluster.stack.processes if process.name.startswith("relay")]
    for number in range(10):
        if number == 5:
            relays[0].kill()
        await cluster.chat.say(group, user, str(number), f"{group}-{number}")
    heard = [await client.expect("new_message") for _ in range(10)]
    assert [frame["data"]["content"] for frame in heard] == [str(number) for number in range(10)]
    assert await asyncio.to_thread(relays[1].stop) == 0
    await client.close()


async def test_unavailable_chat_service_fails_sends_then_recovers(cluster: Cluster) -> None:
    user, newcomer = new_user(), new_user()
    client = await cluster.log_in(0, user)
    group = await announced(cluster.stack, await cluster.chat.group(user, newcomer), 2)
    await client.expect("group_joined")  # from now on no event makes the gateway refresh the membership
    rpc = next(process for process in cluster.stack.processes if process.name.startswith("rpc"))
    rpc.kill()
    message = {"group_id": group, "msg_type": 1, "content": "x"}
    refused = await client.ask("send_message", message, message_id="m", timestamp=1)
    assert (refused["type"], refused["data"]["code"]) == ("error", 503)
    assert refused["data"]["retry_after"] > 0

    second_device = await connect(cluster.gateways[0].ws)
    welcome = await second_device.ask("auth", {"token": make_token(user)})
    assert welcome["data"]["groups"] == [group], "what another device of the user hears needs no question"
    late = await connect(cluster.gateways[0].ws)
    welcome = await late.ask("auth", {"token": make_token(newcomer)})
    assert welcome["data"]["groups"] == []
    trouble = await late.expect("error")
    assert (trouble["data"]["code"], trouble["data"]["reason"]) == (503, "groups_unavailable")

    await asyncio.to_thread(cluster.stack.start_rpc)
    assert (await late.expect("group_joined"))["data"]["group_id"] == group
    await until_answer(
        lambda: client.ask("send_message", message, message_id="m", timestamp=1), lambda answer: answer["type"] == "ack"
    )
    for one in (second_device, late):
        assert (await one.expect("new_message"))["data"]["content"] == "x"
    assert await cluster.chat.history(group) == ["x"]
    for one in (client, second_device, late):
        await one.close()


async def test_redis_restart_loses_nothing(cluster: Cluster) -> None:
    user = new_user()
    group = await announced(cluster.stack, await cluster.chat.group(user), 1)
    clients = [await cluster.log_in(0, user), await cluster.log_in(1, user)]
    for number in range(20):
        if number in (5, 12):
            cluster.stack.redis.kill()
            cluster.stack.redis.start()
        await cluster.chat.say(group, user, str(number), f"{group}-{number}")
    for client in clients:
        heard = [await client.expect("new_message") for _ in range(20)]
        assert [frame["data"]["content"] for frame in heard] == [str(number) for number in range(20)]
        assert [frame["offset"] for frame in heard] == list(range(heard[0]["offset"], heard[0]["offset"] + 20))
        await client.close()


async def test_unavailable_redis_rejects_newcomers_with_503_and_4501(cluster: Cluster) -> None:
    cluster.stack.redis.kill()
    client = await connect(cluster.gateways[0].ws)
    await client.send("auth", {"token": make_token(new_user())})
    refused = await client.expect("error")
    assert refused["data"]["code"] == 503
    assert refused["data"]["retry_after"] > 0
    assert await client.closed() == 4501


@pytest.mark.database
async def test_probed_daphne_reads_revocations_from_the_database(
    tmp_path: Path,
) -> None:
    stack = Stack(tmp_path)
    try:
        stack.redis.start()
        stack.migrate()
        stack.start_rpc()
        stack.start_gateway(server=SERVERS["daphne"])  # returns once a probe succeeds
        async with connect_redis(stack.redis.url) as client:
            await client.delete(keys.revoked_version())
            await until_answer(
                lambda: client.exists(keys.revoked_version()), what="Redis knows the revoked tokens again"
            )
    finally:
        stack.stop()


async def test_plain_daphne_serves_the_same(stack: Stack, chat: Chat, sockets: Connect, log_in: Connect) -> None:
    daphne = stack.start_gateway(server=SERVERS["daphne"])
    alice, bob = new_user(), new_user()
    group = await chat.group(alice, bob)
    here, there = await log_in(alice, daphne.ws), await log_in(bob)
    await here.ask("send_message", {"group_id": group, "msg_type": 1, "content": "from daphne"})
    assert (await there.expect("new_message"))["data"]["content"] == "from daphne"
    await there.ask("send_message", {"group_id": group, "msg_type": 1, "content": "to daphne"})
    await here.expect("new_message")
    assert (await here.expect("new_message"))["data"]["content"] == "to daphne"
    refused = await sockets(daphne.ws, additional_headers={"Authorization": "Bearer nonsense"})
    assert (await refused.recv())["data"]["reason"] == "invalid"
    assert await refused.closed() == 4401
    await here.close()
    daphne.kill()

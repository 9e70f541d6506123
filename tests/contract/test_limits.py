"""Check each limit: what exceeds it, the client's error, and that the next request is served again."""

import asyncio
import json
from typing import Any

import pytest
import websockets

from realtime.redis.client import connect as connect_redis
from tests.support.chat import Chat, new_user
from tests.support.client import Client, connect, make_token
from tests.support.raw import CLOSE, TEXT, frame_of, raw_socket
from tests.support.scrape import scraped
from tests.support.stack import Gateway, Stack
from tests.support.waiting import until_answer

PING = json.dumps({"type": "ping", "message_id": "p"})


async def closed_at_limit(gateway: Gateway, reason: str, **options: object) -> None:
    """Open a socket that is rejected: it receives the reason and a retry time, then it is closed."""
    refused = await connect(gateway.ws, **options)
    error = (await refused.expect("error"))["data"]
    assert (error["code"], error["reason"]) == (503, reason)
    assert error["retry_after"] > 0
    assert await refused.closed() == 4503


async def test_gateway_at_its_connection_limit_rejects_newcomers(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_MAX_CONNECTIONS="2")
    first, second = await connect(gateway.ws), await connect(gateway.ws)
    await closed_at_limit(gateway, "connections")
    assert (await first.ask("ping"))["type"] == "pong"
    await second.close()

    async def is_let_in() -> bool:
        third = await connect(gateway.ws)
        try:
            return bool((await third.ask("ping"))["type"] == "pong")
        except websockets.ConnectionClosed:
            return False
        finally:
            await third.close()

    await until_answer(is_let_in, what="the gateway has seen the second go")
    await first.close()


async def test_gateway_at_its_memory_limit_rejects_newcomers(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_MAX_MEMORY_BYTES="1000000")
    await closed_at_limit(gateway, "memory")


async def test_forged_header_does_not_evade_the_address_limit(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_CONNECTIONS_PER_ADDRESS="1")
    first = await connect(gateway.ws)
    await closed_at_limit(gateway, "address", additional_headers={"X-Forwarded-For": "192.0.2.1"})
    await first.close()


async def test_trusted_proxy_passes_on_the_client_address(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_CONNECTIONS_PER_ADDRESS="1", CHATWS_TRUSTED_PROXIES="127.0.0.0/8, 10.0.0.7")
    via = [{"X-Forwarded-For": f"198.51.100.9, {address}, 10.0.0.7"} for address in ("192.0.2.1", "192.0.2.2")]
    first = await connect(gateway.ws, additional_headers=via[0])
    second = await connect(gateway.ws, additional_headers=via[1])
    await closed_at_limit(gateway, "address", additional_headers=via[0])
    for client in (first, second):
        assert (await client.ask("ping"))["type"] == "pong"
        await client.close()


async def test_connections_over_the_accept_rate_are_rejected(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_ACCEPTS_PER_SECOND="0.001", CHATWS_BURST_SECONDS="1000")
    first = await connect(gateway.ws)
    await closed_at_limit(gateway, "accepts")
    await first.close()


async def test_oldest_connection_of_a_user_closes_on_any_gateway(stack: Stack) -> None:
    here = stack.start_gateway(CHATWS_CONNECTIONS_PER_USER="2")
    there = stack.start_gateway(CHATWS_CONNECTIONS_PER_USER="2")
    user = new_user()
    header = {"Authorization": f"Bearer {make_token(user)}"}
    opened: list[Client] = []
    for gateway in (here, there, there):
        client = await connect(gateway.ws, additional_headers=header)
        welcome = await client.expect("auth_success")
        opened.append(client)
        await until_counted(stack, user, welcome["data"]["connection_id"])
    assert await opened[0].closed() == 4409
    for client in opened[1:]:
        assert (await client.ask("ping"))["type"] == "pong"
        await client.close()


async def until_counted(stack: Stack, user: int, connection_id: str) -> None:
    """Wait until the cluster counts a connection: only counted ones are compared by age."""
    redis: Any = connect_redis(stack.redis.url)
    await until_answer(
        lambda: redis.zscore(f"chatws:user:{user}", connection_id), lambda score: score is not None, "it is counted"
    )
    await redis.aclose()


async def test_frames_over_the_rate_are_rejected_then_served(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_FRAMES_PER_SECOND="0.2", CHATWS_BURST_SECONDS="20")
    client = await connect(gateway.ws)
    answers = [await client.ask("ping") for _ in range(5)]
    while answers[-1]["type"] == "pong":  # one more is accepted every five seconds
        answers.append(await client.ask("ping"))
    assert len(answers) >= 5
    refused = answers[-1]["data"]
    assert refused["code"] == 429
    assert 1 <= refused["retry_after"] <= 5
    await asyncio.sleep(refused["retry_after"])
    assert (await client.ask("ping"))["type"] == "pong"
    await client.close()


@pytest.mark.parametrize("filler", ["y" * 3_000, "你" * 1_000], ids=["ASCII", "Chinese"])
async def test_bytes_over_the_rate_are_rejected(filler: str, stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_BYTES_PER_SECOND="100", CHATWS_BURST_SECONDS="20")
    client = await connect(gateway.ws)
    text = json.dumps({"type": "ping", "message_id": "large", "data": {"x": filler}}, ensure_ascii=False)
    await client.raw(text)
    assert (await client.expect("pong"))["message_id"] == "large", "a frame over the burst is served once"
    refused = await client.ask("ping")
    assert (refused["type"], refused["data"]["code"]) == ("error", 429)
    seen = await scraped(f"{gateway.http}/metrics", lambda seen: seen.total("chatws_refusals_total", limit="bytes"))
    assert seen.total("chatws_received_bytes_total", type="ping") == len(text.encode())
    assert [seen.total("chatws_refusals_total", limit=limit) for limit in ("bytes", "frames")] == [1, 0]
    await client.close()


async def test_persistent_flooder_closes_with_4529(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_FRAMES_PER_SECOND="1", CHATWS_REFUSALS_PER_MINUTE="10")
    client = await connect(gateway.ws)
    for _ in range(30):
        await client.raw(PING)
    assert await client.closed() == 4529
    refused = [frame for frame in client.seen if frame["type"] == "error"]
    assert len(refused) >= 11  # more frames arrive during slow rejections; tests/realtime/test_limits.py counts
    assert all(frame["data"]["code"] == 429 for frame in refused)


@pytest.mark.reference_only
async def test_message_rate_counts_all_devices_and_gateways(stack: Stack, chat: Chat) -> None:
    gateways = [stack.start_gateway(CHATWS_SENDS_PER_SECOND="0.02", CHATWS_BURST_SECONDS="100") for _ in range(2)]
    user = new_user()
    group = await chat.group(user, new_user())
    header = {"Authorization": f"Bearer {make_token(user)}"}
    devices = [await connect(gateway.ws, additional_headers=header) for gateway in gateways]
    kinds = []
    for number in range(3):
        data = {"group_id": group, "msg_type": 1, "content": f"number {number}"}
        answer = await devices[number % 2].ask("send_message", data)
        kinds.append(answer["type"])
    assert kinds == ["ack", "ack", "error"]
    assert answer["data"]["code"] == 429
    assert 1 <= answer["data"]["retry_after"] <= 50
    assert await chat.history(group) == ["number 0", "number 1"]
    for device in devices:
        await device.close()


async def test_number_of_groups_per_connection_is_limited(stack: Stack, chat: Chat) -> None:
    gateway = stack.start_gateway(CHATWS_GROUPS_PER_CONNECTION="2")
    user = new_user()
    groups = sorted([await chat.group(user, new_user()) for _ in range(3)])
    client = await connect(gateway.ws, additional_headers={"Authorization": f"Bearer {make_token(user)}"})
    welcome = (await client.expect("auth_success"))["data"]
    assert welcome["groups"] == groups
    assert [place["feed"] for place in welcome["feeds"]] == [f"user:{user}", *(f"group:{name}" for name in groups[:2])]
    told = (await client.expect("error"))["data"]
    assert (told["code"], told["reason"], told["retry_after"]) == (429, "groups_limit", 60)
    await scraped(f"{gateway.http}/metrics", lambda seen: seen.total("chatws_feeds") == 3)
    refused = await client.ask("join_group", {"group_id": groups[2]})
    assert (refused["data"]["code"], refused["data"]["reason"]) == (429, "groups_limit")
    assert refused["data"]["retry_after"] == 60
    said = {"group_id": groups[2], "msg_type": 1, "content": "not received, but a member"}
    assert (await client.ask("send_message", said))["type"] == "ack"
    assert (await client.ask("leave_group", {"group_id": groups[0]}))["type"] == "group_left"
    assert (await client.ask("join_group", {"group_id": groups[2]}))["type"] == "group_joined"
    await scraped(f"{gateway.http}/metrics", lambda seen: seen.total("chatws_refusals_total", limit="groups") == 2)
    await client.close()


async def test_group_left_at_the_limit_stays_left(stack: Stack, chat: Chat) -> None:
    gateway = stack.start_gateway(CHATWS_GROUPS_PER_CONNECTION="2")
    owner, user = new_user(), new_user()
    groups = sorted([await chat.group(owner, user) for _ in range(3)])
    headers = {"Authorization": f"Bearer {make_token(user)}"}
    client = await connect(gateway.ws, additional_headers=headers)
    assert (await client.ask("leave_group", {"group_id": groups[0]}))["type"] == "group_left"
    assert (await client.ask("join_group", {"group_id": groups[2]}))["type"] == "group_joined"
    await chat.remove(groups[1], user, operator=owner)  # now there is room for the first one again
    assert (await client.expect("group_left"))["data"]["group_id"] == groups[1]
    other = await connect(gateway.ws, additional_headers=headers)  # after the lookup
    feeds = [place["feed"] for place in (await other.expect("auth_success"))["data"]["feeds"]]
    assert feeds == [f"user:{user}", f"group:{groups[0]}", f"group:{groups[2]}"]
    assert (await client.ask("join_group", {"group_id": groups[2]}))["type"] == "group_joined"
    assert [frame for frame in await client.settled() if frame["type"] == "group_joined"] == []
    for device in (client, other):
        await device.close()


@pytest.mark.ours_only
async def test_waiting_limit_of_one_still_serves_all_frames(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_WAITING_FRAMES="1")
    async with raw_socket(gateway.port, new_user()) as raw:
        raw.writer.write(3 * frame_of(0x80 | TEXT, PING.encode()))  # they arrive together
        for _ in range(3):
            await raw.until("pong")
    await scraped(f"{gateway.http}/metrics", lambda seen: seen.total("chatws_refusals_total", limit="waiting") > 0)


@pytest.mark.ours_only
async def test_few_large_frames_wait_in_the_socket_too(stack: Stack) -> None:
    gateway = stack.start_gateway(
        CHATWS_WAITING_BYTES="15000", CHATWS_FRAMES_PER_SECOND="0", CHATWS_BYTES_PER_SECOND="0"
    )
    large = json.dumps({"type": "ping", "message_id": "f", "data": {"x": "y" * 10_000}}).encode()
    async with raw_socket(gateway.port, new_user()) as raw:
        raw.writer.write(3 * frame_of(0x80 | TEXT, large))  # one TCP segment, so that they arrive together
        for _ in range(3):
            await raw.until("pong")
    await scraped(f"{gateway.http}/metrics", lambda seen: seen.total("chatws_refusals_total", limit="waiting") > 0)


@pytest.mark.ours_only
async def test_frames_after_a_slow_call_wait_in_the_socket(stack: Stack) -> None:
    """Send 5 MB of frames while the chat service hangs: they wait in the socket, and none is lost."""
    own = Stack(stack.folder / "slow", CHATWS_FRAMES_PER_SECOND="0", CHATWS_BYTES_PER_SECOND="0")
    own.folder.mkdir()
    gateway = own.start()
    try:
        own_chat = Chat(own.rpc_target)
        user = new_user()
        group = await own_chat.group(user, new_user())
        await own_chat.close()
        rpc = next(process for process in own.processes if process.name.startswith("rpc"))
        async with raw_socket(gateway.port, user) as raw:
            rpc.pause()
            raw.send(TEXT, json.dumps({
                "type": "send_message", "message_id": "s", "timestamp": 1,
                "data": {"group_id": group, "msg_type": 1, "content": "x"},
            }).encode())  # fmt: skip
            leave = json.dumps({"type": "leave_group", "data": {"group_id": "another"}})
            for _ in range(100):
                raw.send(TEXT, leave.encode())
            filler = json.dumps({"type": "ping", "message_id": "f", "data": {"x": "y" * 30_000}}).encode()
            sent = 0
            try:
                async with asyncio.timeout(2):
                    for sent in range(400):  # noqa: B007
                        raw.send(TEXT, filler)
                        await raw.writer.drain()
            except TimeoutError:
                pass
            assert sent < 300, "the server read on"
            await scraped(
                f"{gateway.http}/metrics", lambda seen: seen.total("chatws_refusals_total", limit="waiting") > 0
            )
            rpc.go_on()
            await raw.until("ack", "error")  # the latter if all this took longer than the call's deadline
            for _ in range(100):
                await raw.until("group_left")
            for _ in range(sent):  # these are too large to overtake other frames
                await raw.until("pong")
            raw.send(CLOSE, (1000).to_bytes(2))
    finally:
        own.stop()

"""Check messages beside the twin of the Go platform: the differences of its services lose none."""

import asyncio
from typing import Any

import httpx
import pytest
import redis as redis_py
import redis.asyncio as aioredis

from tests.support.chat import new_user
from tests.support.client import make_token
from tests.support.go_platform import enter, group_of, history, serving, text
from tests.support.platform_stack import PlatformStack
from tests.support.scrape import scraped
from tests.support.twin.control import Twin
from tests.support.waiting import LIMIT, until_answer


async def test_repeated_frame_after_a_lost_ack_gets_same_ack(platform: PlatformStack, stub: Any) -> None:
    """Repeat on another gateway too, although the service rejects a second save and our own record is lost."""
    user = new_user()
    group = await group_of(stub, user)
    one, other = await enter(platform.gateway, user), await enter(platform.start_gateway(), user)
    again = {"message_id": "c-1", "timestamp": 1_700_000_000}
    acks = [await client.ask("send_message", text(group), **again) for client in (one, other)]
    with redis_py.Redis.from_url(platform.redis.url) as redis:
        for key in redis.scan_iter("chatws:{chat.message.new}:added:*"):
            redis.delete(key)
    acks.append(await one.ask("send_message", text(group), **again))
    assert len({(ack["type"], ack["data"].get("message_id")) for ack in acks}) == 1
    assert await history(stub, group) == [acks[0]["data"]["message_id"]]
    await one.ask("send_message", text(group, "the end"))
    await one.expect("new_message", lambda frame: frame["data"]["content"] == "the end")
    assert [f["data"]["content"] for f in one.seen if f["type"] == "new_message"] == ["hello", "the end"]
    for client in (one, other):
        await client.close()


@pytest.mark.parametrize("saves", ["fail", "hang"])
async def test_stored_message_is_acked_and_published_despite_an_error(
    platform: PlatformStack, stub: Any, twin: Twin, saves: str
) -> None:
    ada, bo = new_user(), new_user()
    group = await group_of(stub, ada, bo)
    one, two = await enter(platform.gateway, ada), await enter(platform.gateway, bo)
    await twin.tell(saves=saves)
    ack = await one.ask("send_message", text(group))
    assert ack["type"] == "ack", ack
    assert (await two.expect("new_message"))["data"]["message_id"] == ack["data"]["message_id"]
    assert await history(stub, group) == [ack["data"]["message_id"]]
    for client in (one, two):
        await client.close()


async def test_overloaded_service_is_retried(platform: PlatformStack, stub: Any, twin: Twin) -> None:
    ada = new_user()
    group = await group_of(stub, ada)
    one = await enter(platform.gateway, ada)
    again = {"message_id": "c-1", "timestamp": 1_700_000_000}
    await twin.tell(calls="overloaded")
    refused = (await one.ask("send_message", text(group), **again))["data"]
    assert (refused["code"], refused["message"], refused["retry_after"]) == (429, "service overloaded", 2)
    async with httpx.AsyncClient(base_url=platform.gateway.http) as http:
        answer = await http.get(f"/api/users/{ada}/groups", headers={"Authorization": f"Bearer {make_token(ada)}"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    await twin.tell(calls="")
    assert (await one.ask("send_message", text(group), **again))["type"] == "ack"
    await one.close()


async def test_service_that_dies_after_commit_loses_no_message(platform: PlatformStack, stub: Any, twin: Twin) -> None:
    ada, bo = new_user(), new_user()
    group = await group_of(stub, ada, bo)
    one, two = await enter(platform.gateway, ada), await enter(platform.gateway, bo)
    again = {"message_id": "c-1", "timestamp": 1_700_000_000}
    await twin.tell(saves="drop")
    first = asyncio.create_task(one.ask("send_message", text(group), **again))
    await asyncio.to_thread(serving(platform).wait)
    await asyncio.to_thread(platform.start_rpc)
    shown = await two.expect("new_message")  # by the gateway that finds it first
    assert shown["data"]["content"] == "hello"
    await first
    ack = await until_answer(
        lambda: one.ask("send_message", text(group), **again), lambda answer: answer["type"] == "ack", "an ack"
    )
    assert ack["data"]["message_id"] == shown["message_id"]
    assert await history(stub, group) == [shown["message_id"]]
    assert [f["type"] for f in await two.settled() if f["type"] == "new_message"] == []
    for client in (one, two):
        await client.close()


async def test_gateway_killed_after_storing_leaves_nothing_unpublished(
    platform: PlatformStack, stub: Any, twin: Twin
) -> None:
    """Publish the message from another gateway without a retry of the client."""
    ada, bo = new_user(), new_user()
    group = await group_of(stub, ada, bo)
    doomed = await asyncio.to_thread(platform.start_gateway)
    one, two = await enter(doomed, ada), await enter(platform.gateway, bo)
    await twin.tell(saves="hang")
    await one.send("send_message", text(group, "survives"))
    [message_id] = await until_answer(lambda: history(stub, group), what="it is stored")
    doomed.kill()
    await twin.tell(saves="")
    shown = await two.expect("new_message")
    assert (shown["message_id"], shown["data"]["content"]) == (message_id, "survives")
    await scraped(f"{platform.gateway.http}/metrics", lambda seen: seen.total("chatws_messages_finished_total") > 0)
    await two.close()


@pytest.mark.parametrize("step", ["sent", "noted", "stored", "published"])
async def test_gateway_killed_anywhere_loses_and_repeats_no_message(
    platform: PlatformStack, stub: Any, twin: Twin, step: str
) -> None:
    """Let the client send the frame again to another gateway."""
    ada, bo = new_user(), new_user()
    group = await group_of(stub, ada, bo)
    doomed = await asyncio.to_thread(platform.start_gateway)
    one, two = await enter(doomed, ada), await enter(platform.gateway, bo)
    again = {"message_id": "c-1", "timestamp": 1_700_000_000}
    await twin.tell(saves={"noted": "hang before", "stored": "hang"}.get(step, ""))
    async with aioredis.Redis.from_url(platform.redis.url) as redis:
        entries: Any = await redis.xrevrange("chat.message.new", count=1)
        newest: bytes = entries[0][0] if entries else b"0-0"
        await one.send("send_message", text(group), **again)
        if step == "noted":
            await until_answer(lambda: redis.hlen("chatws:{chat.message.new}:intents"), what="an intent")
        elif step == "stored":
            await until_answer(lambda: history(stub, group), what="it is stored")
        elif step == "published":
            await redis.xread({"chat.message.new": newest}, block=int(1_000 * LIMIT))
    doomed.kill()
    await twin.tell(saves="")
    other = await enter(platform.gateway, ada)
    ack = await until_answer(
        lambda: other.ask("send_message", text(group), **again), lambda answer: answer["type"] == "ack", "an ack"
    )
    assert await history(stub, group) == [ack["data"]["message_id"]]
    await other.ask("send_message", text(group, "the end"))
    await two.expect("new_message", lambda frame: frame["data"]["content"] == "the end")
    assert [f["data"]["content"] for f in two.seen if f["type"] == "new_message"] == ["hello", "the end"]
    for client in (other, two):
        await client.close()


async def test_service_on_a_new_port_loses_no_message(platform: PlatformStack, stub: Any) -> None:
    """Move the service: senders and readers continue, and /ready shows its address."""
    ada, bo = new_user(), new_user()
    group = await group_of(stub, ada, bo)
    one, two = await enter(platform.gateway, ada), await enter(platform.gateway, bo)
    before = platform.rpc_target
    old = serving(platform)
    acked: list[str] = []
    moved = asyncio.Event()

    async def talk() -> None:
        while not moved.is_set() or len(acked) < 20:
            ack = await one.ask("send_message", text(group, str(len(acked))))
            assert ack["type"] == "ack", ack
            acked.append(ack["data"]["message_id"])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk())
        await asyncio.to_thread(platform.move_rpc)
        async with httpx.AsyncClient(base_url=platform.gateway.http, timeout=LIMIT) as http:

            async def listed() -> Any:
                states = (await http.get("/ready")).json()
                return states.get("chat_rpc_instances"), states.get("user_rpc_instances")

            here = [platform.rpc_target], [platform.user_target]
            await until_answer(listed, lambda found: found == here, "the new one alone")
        assert before != platform.rpc_target
        assert old.stop() == 0
        moved.set()
    await two.expect("new_message", lambda frame: frame["data"]["message_id"] == acked[-1])
    shown = [frame["data"]["message_id"] for frame in two.seen if frame["type"] == "new_message"]
    assert shown == acked
    for client in (one, two):
        await client.close()

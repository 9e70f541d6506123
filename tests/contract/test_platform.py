"""Check the gateway beside the twin of the Go platform: the differences of its services lose no message."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import httpx
import pytest
import redis as redis_py
import redis.asyncio as aioredis

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb.chat_pb2_grpc import ChatServiceStub
from realtime.relay.watermill import encode
from tests.support.chat import new_user
from tests.support.client import Client, connect, make_token
from tests.support.scrape import scraped
from tests.support.stack import Gateway, PlatformStack, Process, Stack
from tests.support.twin import Twin
from tests.support.waiting import LIMIT, until_answer

_activities = itertools.count(1)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformStack]:
    unlimited = {f"CHATWS_{what}_PER_SECOND": "0" for what in ("SENDS", "FRAMES", "BYTES")}
    stack = PlatformStack(tmp_path_factory.mktemp("platform"), CHATWS_PUBLIC_STATUS="1", **unlimited)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
async def twin(platform: PlatformStack) -> AsyncIterator[Twin]:
    """Yield the twin; clear its failures afterwards."""
    twin = Twin(platform.rpc_target)
    yield twin
    await twin.tell(saves="", users="", calls="")
    await twin.close()


@pytest.fixture
async def stub(platform: PlatformStack) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(platform.rpc_target) as channel:
        yield ChatServiceStub(channel)


async def group_of(stub: Any, owner: int, *members: int) -> str:
    request = pb.CreateGroupReq(activity_id=next(_activities), name="Chess", owner_id=owner)
    group_id: str = (await stub.CreateGroup(request)).group_id
    for member in members:
        await stub.AddGroupMember(pb.AddGroupMemberReq(group_id=group_id, user_id=member))
    return group_id


def happens(stack: Stack, topic: str, **event: object) -> None:
    """Publish an event, as another service of the platform does."""
    fields: Any = encode(json.dumps(event).encode(), {"topic": topic})
    with redis_py.Redis.from_url(stack.redis.url) as redis:
        redis.xadd(topic, fields)


async def enter(gateway: Gateway, user: int) -> Client:
    """Log in with a token like the platform's, with a number, a role and no name."""
    client = await connect(gateway.ws)
    answer = await client.ask("auth", {"token": make_token(user, 600, role="user")})
    assert answer["type"] == "auth_success", answer
    return client


def serving(platform: PlatformStack) -> Process:
    """Return the twin that was started last."""
    return [process for process in platform.processes if process.kind == "rpc"][-1]


def text(group: str, content: str = "hello") -> dict[str, object]:
    return {"group_id": group, "msg_type": 1, "content": content}


async def history(stub: Any, group: str) -> list[str]:
    answer = await stub.GetMessageHistory(pb.GetMessageHistoryReq(group_id=group, limit=100))
    return [message.message_id for message in answer.messages]


async def test_member_of_a_disbanded_group_keeps_other_groups(platform: PlatformStack, stub: Any, twin: Twin) -> None:
    ada, bo = new_user(), new_user()
    await twin.tell(people=[[ada, "Ada", "https://img.example/ada.png"], [bo, "Bo", ""]])
    gone, group = await group_of(stub, ada, bo), await group_of(stub, ada, bo)
    await stub.DisbandGroup(pb.DisbandGroupReq(group_id=gone, operator_id=ada))
    one, two = await enter(platform.gateway, ada), await enter(platform.gateway, bo)

    async def says() -> Any:
        ack = await one.ask("send_message", text(group))
        assert ack["type"] == "ack", ack
        shown = (await two.expect("new_message"))["data"]
        assert shown["message_id"] == ack["data"]["message_id"]
        return shown["sender_name"], shown["sender_avatar"]

    async def remembers() -> Any:
        messages = (await two.ask("history", {"group_id": group}))["data"]["messages"]
        return messages[0]["sender_name"], messages[0]["sender_avatar"]

    for look in (says, remembers):  # the wait for a name is short, and a busy machine may exceed it
        await until_answer(look, lambda name: name == ("Ada", "https://img.example/ada.png"), "a name")
    assert (await one.ask("send_message", text(gone)))["data"]["code"] == 403
    for client in (one, two):
        await client.close()


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


async def test_activity_events_change_the_members(platform: PlatformStack, stub: Any) -> None:
    ada, cy = new_user(), new_user()
    activity = next(_activities)
    one, three = await enter(platform.gateway, ada), await enter(platform.gateway, cy)
    happens(platform, "activity.created", activity_id=activity, creator_id=ada, title="Run", cover_url="")
    joined = await one.expect("group_joined")  # only a notification reports it
    group = joined["data"]["group_id"]
    assert (await one.ask("send_message", text(group, "first")))["type"] == "ack"

    happens(platform, "activity.member.joined", activity_id=activity, user_id=cy)
    assert (await three.expect("group_joined"))["data"]["group_id"] == group
    await one.ask("send_message", text(group, "welcome"))
    assert (await three.expect("new_message"))["data"]["content"] == "welcome"

    happens(platform, "activity.member.left", activity_id=activity, user_id=cy)
    assert (await three.expect("group_left"))["data"]["group_id"] == group
    await one.ask("send_message", text(group, "without cy"))
    await one.expect("new_message", lambda frame: frame["data"]["content"] == "without cy")
    assert [f["data"]["content"] for f in await three.settled() if f["type"] == "new_message"] == []

    happens(platform, "activity.cancelled", activity_id=activity, cancelled_by=ada, reason="rain")
    assert (await one.expect("group_left"))["data"]["group_id"] == group
    assert (await one.ask("send_message", text(group, "still?")))["data"]["code"] == 403
    for client in (one, three):
        await client.close()


@pytest.mark.parametrize("users", ["slow", "away"])
async def test_message_has_no_name_without_the_user_service(
    platform: PlatformStack, stub: Any, twin: Twin, users: str
) -> None:
    user = new_user()
    group = await group_of(stub, user)
    gateway = await asyncio.to_thread(platform.start_gateway)  # it remembers the service's failure
    client = await enter(gateway, user)
    await twin.tell(users=users, people=[[user, "Ada", ""]])
    assert (await client.ask("send_message", text(group)))["type"] == "ack"
    assert (await client.expect("new_message"))["data"]["sender_name"] == "用户"
    await client.close()
    gateway.kill()


GO_MESSAGE = {
    "sender_name": "Bo", "sender_avatar": "", "msg_type": 1, "content": "<b>&\"quotes\" 你好 😀", "image_url": "",
}  # fmt: skip


async def test_go_websocket_service_shares_the_topics(platform: PlatformStack, stub: Any) -> None:
    """Publish and read as the Go service does, with a consumer group: each side receives the other's messages once."""
    ada, bo = new_user(), new_user()
    group = await group_of(stub, ada, bo)
    client = await enter(platform.gateway, ada)
    with redis_py.Redis.from_url(platform.redis.url) as redis:
        redis.xgroup_create("chat.message.new", f"ws-{group}", id="$", mkstream=True)
        redis.xadd("chat.message.new", {"payload": b"not JSON"})
        event = {**GO_MESSAGE, "message_id": f"go-{group}", "group_id": group, "sender_id": bo, "created_at": 1}
        escaped = json.dumps(event, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")
        fields: Any = encode(escaped.replace("&", "\\u0026").encode(), {"topic": "chat.message.new"})
        redis.xadd("chat.message.new", fields)
        shown = await client.expect("new_message")
        assert shown["data"]["content"] == GO_MESSAGE["content"]
        ack = await client.ask("send_message", text(group, "from ours"))
        await client.expect("new_message")
        [[_, entries]] = redis.xreadgroup(f"ws-{group}", "go", {"chat.message.new": ">"})
        payloads = [fields[b"payload"] for _, fields in entries]
        assert payloads[0] == b"not JSON"
        heard = [json.loads(payload) for payload in payloads[1:]]
        mine = [one for one in heard if one["group_id"] == group]
        assert [one["message_id"] for one in mine] == [f"go-{group}", ack["data"]["message_id"]]
        assert set(mine[0]) == set(mine[1])
        letters = redis.xrange("chat.message.new.dlq")
        assert b"not JSON" in [fields[b"payload"] for _, fields in letters]
        redis.xgroup_destroy("chat.message.new", f"ws-{group}")
    await client.close()

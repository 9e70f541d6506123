"""Check groups, names and events of the Go platform's services beside its twin."""

import asyncio
import json
from typing import Any

import pytest
import redis as redis_py

from chatws.chat_service.pb import chat_pb2 as pb
from realtime.relay.watermill import encode
from tests.support.chat import new_user
from tests.support.go_platform import activities, enter, group_of, happens, text
from tests.support.platform_stack import PlatformStack
from tests.support.twin.control import Twin
from tests.support.waiting import until_answer


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


async def test_activity_events_change_the_members(platform: PlatformStack, stub: Any) -> None:
    ada, cy = new_user(), new_user()
    activity = next(activities)
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

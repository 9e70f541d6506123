"""Check the reference chat service over gRPC: all 16 methods and their status codes (docs/protocol.md, gRPC)."""

from typing import Any

import grpc
import pytest

from chatws.chat_service.pb import chat_pb2 as pb
from tests.support.chat import Chat, new_user

pytestmark = pytest.mark.database

BIG = 2**64 - 1


async def refused(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code.name


async def test_group_from_creation_to_disbanding(chat: Chat) -> None:
    owner, member, activity = new_user(), new_user(), new_user()
    request = pb.CreateGroupReq(activity_id=activity, name="a group", owner_id=owner, cover_url="https://c.example/")
    group_id = (await chat.stub.CreateGroup(request)).group_id
    info = (await chat.stub.GetGroupInfo(pb.GetGroupInfoReq(group_id=group_id))).group
    assert (info.name, info.owner_id, info.status, info.max_members, info.member_count) == ("a group", owner, 1, 500, 1)
    assert (await chat.stub.GetGroupByActivityId(pb.GetGroupByActivityIdReq(activity_id=activity))).group == info

    await chat.add(group_id, member)
    assert await refused(chat.add(group_id, member)) == "ALREADY_EXISTS"
    members = await chat.stub.GetGroupMembers(pb.GetGroupMembersReq(group_id=group_id))
    assert [(found.user_id, found.role) for found in members.members] == [(owner, 2), (member, 1)]
    assert members.total == 2

    assert await refused(chat.remove(group_id, owner, owner)) == "PERMISSION_DENIED"
    assert await refused(chat.remove(group_id, new_user(), owner)) == "NOT_FOUND"
    await chat.remove(group_id, member, owner)

    assert await refused(chat.disband(group_id, member)) == "PERMISSION_DENIED"
    await chat.disband(group_id, owner)
    assert await refused(chat.disband(group_id, owner)) == "FAILED_PRECONDITION"
    assert await refused(chat.add(group_id, member)) == "FAILED_PRECONDITION"
    assert await refused(chat.say(group_id, owner, "x", f"late-{owner}")) == "FAILED_PRECONDITION"
    listed = await chat.stub.GetUserGroups(pb.GetUserGroupsReq(user_id=owner))
    assert (list(listed.groups), listed.total) == ([], 0)


async def test_largest_user_id_is_accepted(chat: Chat) -> None:
    group_id = await chat.group(BIG)
    await chat.say(group_id, BIG, "from the last user", f"big-{group_id}")
    [found] = (await chat.stub.GetGroupMembers(pb.GetGroupMembersReq(group_id=group_id))).members
    assert found.user_id == BIG
    history = await chat.stub.GetMessageHistory(pb.GetMessageHistoryReq(group_id=group_id))
    assert history.messages[0].sender_id == BIG


async def test_full_group_rejects_new_members(chat: Chat) -> None:
    request = pb.CreateGroupReq(name="small", owner_id=new_user(), max_members=2)
    group_id = (await chat.stub.CreateGroup(request)).group_id
    await chat.add(group_id, new_user())
    assert await refused(chat.add(group_id, new_user())) == "RESOURCE_EXHAUSTED"


async def test_groups_are_listed_with_their_latest_message(chat: Chat) -> None:
    user = new_user()
    groups = [await chat.group(user, name=f"group {number}") for number in range(3)]
    await chat.say(groups[1], user, "latest", f"latest-{user}")
    answer = await chat.stub.GetUserGroups(pb.GetUserGroupsReq(user_id=user))
    assert {group.group_id: group.last_message for group in answer.groups} == dict(
        zip(groups, ["", "latest", ""], strict=True)
    )
    page = await chat.stub.GetUserGroups(pb.GetUserGroupsReq(user_id=user, page=2, page_size=2))
    assert ([group.group_id for group in page.groups], page.total) == ([groups[2]], 3)


async def test_message_is_stored_once(chat: Chat) -> None:
    user = new_user()
    group_id = await chat.group(user)
    for text in ("first", "second"):
        await chat.say(group_id, user, text, f"once-{user}")
    assert await chat.history(group_id) == ["first"]
    assert await refused(chat.say(group_id, new_user(), "x", "m")) == "PERMISSION_DENIED"
    assert await refused(chat.say("none", user, "x", "m")) == "NOT_FOUND"


@pytest.mark.parametrize("missing", ["message_id", "group_id", "sender_id", "msg_type", "content"])
async def test_empty_message_field_is_rejected(chat: Chat, missing: str) -> None:
    fields: dict[str, Any] = {"message_id": "m", "group_id": "g", "sender_id": 1, "msg_type": 1, "content": "x"}
    request = pb.SaveMessageReq(**{name: value for name, value in fields.items() if name != missing})
    assert await refused(chat.stub.SaveMessage(request)) == "INVALID_ARGUMENT"


async def test_history_is_read_backwards_in_pages(chat: Chat) -> None:
    user = new_user()
    group_id = await chat.group(user)
    for number in range(5):
        await chat.say(group_id, user, str(number), f"{user}-{number}")
    first = await chat.stub.GetMessageHistory(pb.GetMessageHistoryReq(group_id=group_id, limit=2))
    assert ([message.content for message in first.messages], first.has_more) == (["4", "3"], True)
    before = first.messages[-1].message_id
    rest = await chat.stub.GetMessageHistory(pb.GetMessageHistoryReq(group_id=group_id, before_id=before))
    assert ([message.content for message in rest.messages], rest.has_more) == (["2", "1", "0"], False)
    offline = await chat.stub.GetOfflineMessages(pb.GetOfflineMessagesReq(user_id=user, after_time=0))
    assert [message.content for message in offline.messages] == ["0", "1", "2", "3", "4"]


async def test_notifications_are_created_listed_and_read(chat: Chat) -> None:
    user = new_user()
    made = [
        (await chat.stub.CreateNotification(pb.CreateNotificationReq(user_id=user, type="t", title=title)))
        for title in ("one", "two", "three")
    ]
    listed = await chat.stub.GetNotifications(pb.GetNotificationsReq(user_id=user, is_read=-1, page_size=2))
    assert [found.title for found in listed.notifications] == ["three", "two"]
    assert (listed.total, listed.unread_count) == (3, 3)
    request = pb.MarkNotificationReadReq(user_id=user, notification_ids=[made[0].notification_id])
    assert (await chat.stub.MarkNotificationRead(request)).updated_count == 1
    assert (await chat.stub.MarkNotificationRead(request)).updated_count == 0
    assert (await chat.stub.GetUnreadCount(pb.GetUnreadCountReq(user_id=user))).unread_count == 2
    assert (await chat.stub.MarkAllRead(pb.MarkAllReadReq(user_id=user))).affected_count == 2
    read = await chat.stub.GetNotifications(pb.GetNotificationsReq(user_id=user, is_read=1))
    assert (read.total, read.unread_count) == (3, 0)


async def test_missing_required_field_is_invalid_argument(chat: Chat) -> None:
    calls = [
        chat.stub.CreateGroup(pb.CreateGroupReq(owner_id=1)), chat.stub.CreateGroup(pb.CreateGroupReq(name="x")),
        chat.stub.AddGroupMember(pb.AddGroupMemberReq(group_id="g")), chat.stub.GetGroupInfo(pb.GetGroupInfoReq()),
        chat.stub.RemoveGroupMember(pb.RemoveGroupMemberReq()), chat.stub.DisbandGroup(pb.DisbandGroupReq()),
        chat.stub.GetUserGroups(pb.GetUserGroupsReq()), chat.stub.GetGroupMembers(pb.GetGroupMembersReq()),
        chat.stub.GetGroupByActivityId(pb.GetGroupByActivityIdReq()), chat.stub.MarkAllRead(pb.MarkAllReadReq()),
        chat.stub.GetMessageHistory(pb.GetMessageHistoryReq()), chat.stub.GetUnreadCount(pb.GetUnreadCountReq()),
        chat.stub.GetOfflineMessages(pb.GetOfflineMessagesReq()),
        chat.stub.CreateNotification(pb.CreateNotificationReq(user_id=1, type="t")),
        chat.stub.GetNotifications(pb.GetNotificationsReq()),
        chat.stub.MarkNotificationRead(pb.MarkNotificationReadReq(user_id=1)),
    ]  # fmt: skip
    assert {await refused(call) for call in calls} == {"INVALID_ARGUMENT"}
    assert await refused(chat.stub.GetGroupInfo(pb.GetGroupInfoReq(group_id="none"))) == "NOT_FOUND"

"""Check who receives a chat group while memberships change (docs/protocol.md, Redis Streams)."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import Connect
from tests.support.announced import announced
from tests.support.chat import Chat, new_user
from tests.support.client import connect, make_token
from tests.support.stack import Gateway, Stack
from tests.support.waiting import until_logged


@pytest.mark.database
async def test_added_user_joins_and_members_are_notified(log_in: Connect, chat: Chat) -> None:
    owner, added = new_user(), new_user()
    group = await chat.group(owner)
    before, fresh = await log_in(owner), await log_in(added)
    await chat.add(group, added)

    joined = await fresh.expect("group_joined")
    assert joined["data"]["group_id"] == group
    assert joined["data"]["feed"] == f"group:{group}"
    membership = await fresh.expect("membership")
    assert membership["data"] == {"group_id": group, "change": "added"}
    assert membership["feed"] == f"user:{added}"
    told = await before.expect("group_member", lambda frame: frame["data"]["user_id"] == added)
    assert told["data"] == {"group_id": group, "user_id": added, "change": "added"}
    assert told["feed"] == f"group:{group}"

    await before.ask("send_message", {"group_id": group, "msg_type": 1, "content": "welcome"})
    assert (await fresh.expect("new_message"))["data"]["content"] == "welcome"


@pytest.mark.database
async def test_removed_user_receives_nothing_after_the_removal(log_in: Connect, chat: Chat) -> None:
    owner, removed = new_user(), new_user()
    group = await chat.group(owner, removed)
    speaker, devices = await log_in(owner), [await log_in(removed), await log_in(removed)]
    await chat.remove(group, removed, owner)
    for device in devices:
        assert (await device.expect("group_left"))["data"]["group_id"] == group
        told = await device.expect("membership", lambda frame: frame["data"]["change"] == "removed")  # skip "added"
        assert told["data"] == {"group_id": group, "change": "removed"}
    await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "secret"})
    await speaker.expect("new_message")
    for device in devices:
        assert [frame for frame in await device.settled() if frame["type"] == "new_message"] == []
        answer = await device.ask("send_message", {"group_id": group, "msg_type": 1, "content": "still here?"})
        assert answer["data"]["code"] == 403
    in_group = [frame for frame in devices[0].seen if frame["type"] == "group_member"]
    assert in_group[-1]["data"]["change"] == "removed"


@pytest.mark.database
async def test_disbanded_group_is_left_by_all(log_in: Connect, chat: Chat) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    clients = [await log_in(owner), await log_in(member)]
    await chat.disband(group, owner)
    for client in clients:
        assert (await client.expect("group_left"))["data"]["group_id"] == group


@pytest.mark.reference_only
async def test_readded_user_receives_the_group_again(log_in: Connect, chat: Chat) -> None:
    owner, user = new_user(), new_user()
    group = await chat.group(owner, user)
    speaker, client = await log_in(owner), await log_in(user)
    await chat.remove(group, user, owner)
    await client.expect("group_left")
    await chat.add(group, user)
    await client.expect("group_joined")
    await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "again"})
    assert (await client.expect("new_message"))["data"]["content"] == "again"


@pytest.mark.reference_only
@pytest.mark.parametrize("kind", ["group_created", "group_joined", "group_left", "activity_cancelled"])
async def test_notification_alone_changes_the_membership(log_in: Connect, chat: Chat, stack: Stack, kind: str) -> None:
    owner, user = new_user(), new_user()
    left, joined = await chat.group(owner, user), await chat.group(owner)
    await announced(stack, left, 2)
    client = await log_in(user)
    stack.remove_silently(left, user)
    stack.add_silently(joined, user)
    event = {"user_id": user, "notification_id": f"n{user}", "type": kind}
    stack.add_entry("notification:push", event)
    assert (await client.expect("group_left"))["data"]["group_id"] == left
    assert (await client.expect("group_joined"))["data"]["group_id"] == joined
    assert (await client.expect("notification"))["data"]["type"] == kind


async def test_left_group_stays_left_after_other_changes(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    left, other = await chat.group(user), await chat.group(new_user())
    client = await log_in(user)
    await client.ask("leave_group", {"group_id": left})
    await chat.add(other, user)
    assert (await client.expect("group_joined"))["data"]["group_id"] == other
    assert [f for f in await client.settled() if f["type"] == "group_joined"] == []


@pytest.mark.reference_only
async def test_removal_from_a_left_group_is_seen_at_the_next_join(stack: Stack, chat: Chat) -> None:
    """The gateway no longer receives the removals of a group that it left, and believed what it had known."""
    gateway = stack.start_gateway()
    owner, user = new_user(), new_user()
    group = await chat.group(owner, user)
    client = await connect(gateway.ws, additional_headers={"Authorization": f"Bearer {make_token(user)}"})
    await client.expect("auth_success")
    await client.ask("leave_group", {"group_id": group})
    stack.remove_silently(group, user)
    refused = await client.ask("join_group", {"group_id": group})
    assert (refused["type"], refused["data"]["code"]) == ("error", 403)
    await client.close()


async def test_made_up_groups_can_be_left_without_being_noted(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    client = await log_in(user)
    answer = await client.ask("leave_group", {"group_id": "made-up"})
    assert (answer["type"], answer["data"]["group_id"]) == ("group_left", "made-up")
    await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": "still here"})
    assert (await client.expect("new_message"))["data"]["content"] == "still here"


async def test_new_group_can_be_joined_before_its_event(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    client = await log_in(user)
    group = await chat.group(user)
    answer = await client.ask("join_group", {"group_id": group})
    assert (answer["type"], answer["data"]["group_id"]) == ("group_joined", group)


@pytest.mark.reference_only
async def test_membership_is_refreshed_after_a_layer_reconnect(log_in: Connect, chat: Chat, stack: Stack) -> None:
    """Lose the event while the layer is disconnected; the lookup after it finds the change."""
    owner, removed, member = new_user(), new_user(), new_user()
    group = await chat.group(owner, removed, member)
    gone, other = await log_in(removed), await log_in(member)
    stack.remove_silently(group, removed)
    stack.break_subscriptions()
    assert (await gone.expect("group_left"))["data"]["group_id"] == group
    assert [frame for frame in await other.settled() if frame["type"] == "group_left"] == []


@pytest.mark.reference_only
@pytest.mark.database
async def test_timer_finds_changes_without_an_event(
    stack: Stack, chat: Chat, log_in: Connect, gateway: Gateway
) -> None:
    """Remove, add and disband without an event, as an operator does in the database."""
    checking = stack.start_gateway(CHATWS_MEMBERSHIP_SECONDS="1")
    owner, user = new_user(), new_user()
    gone, disbanded = await chat.group(owner, user), await chat.group(owner, user)
    client, unchecked = await log_in(user, checking.ws), await log_in(user, gateway.ws)
    stack.remove_silently(gone, user)
    assert (await client.expect("group_left"))["data"]["group_id"] == gone
    stack.disband_silently(disbanded)
    assert (await client.expect("group_left"))["data"]["group_id"] == disbanded
    assert [frame for frame in await unchecked.settled() if frame["type"] == "group_left"] == []


@pytest.mark.reference_only
async def test_rejection_by_the_chat_service_refreshes_membership(chat: Chat, log_in: Connect, stack: Stack) -> None:
    owner, user = new_user(), new_user()
    group = await chat.group(owner, user)
    devices = [await log_in(user), await log_in(user)]
    stack.disband_silently(group)
    refused = await devices[0].ask("send_message", {"group_id": group, "msg_type": 1, "content": "anybody?"})
    assert refused["data"]["code"] == 409
    for device in devices:
        assert (await device.expect("group_left"))["data"]["group_id"] == group


async def test_failed_timer_lookup_changes_no_membership(tmp_path: Path) -> None:
    stack = Stack(tmp_path, CHATWS_MEMBERSHIP_SECONDS="0.5")
    try:
        gateway = stack.start()
        chat = Chat(stack.rpc_target)
        user = new_user()
        group = await chat.group(user)
        client = await connect(gateway.ws, additional_headers={"Authorization": f"Bearer {make_token(user)}"})
        await client.expect("auth_success")
        next(process for process in stack.processes if process.name.startswith("rpc")).kill()
        await until_logged(gateway.log, "can't be checked now")
        assert [frame for frame in await client.settled() if frame["type"] == "group_left"] == []
        await asyncio.to_thread(stack.start_rpc)
        stack.remove_silently(group, user)
        assert (await client.expect("group_left"))["data"]["group_id"] == group
        await client.close()
        await chat.close()
    finally:
        stack.stop()

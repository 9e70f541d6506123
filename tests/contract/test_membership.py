"""Who hears a chat group, as membership changes under live connections (docs/protocol.md, Redis Streams)."""

from tests.conftest import Connect
from tests.support.chat import Chat, new_user
from tests.support.stack import Stack


async def test_an_added_user_joins_at_once_and_everybody_is_told(log_in: Connect, chat: Chat) -> None:
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


async def test_a_removed_user_hears_of_it_and_nothing_after_it_on_any_device(log_in: Connect, chat: Chat) -> None:
    owner, removed = new_user(), new_user()
    group = await chat.group(owner, removed)
    speaker, devices = await log_in(owner), [await log_in(removed), await log_in(removed)]
    await chat.remove(group, removed, owner)
    for device in devices:
        assert (await device.expect("group_left"))["data"]["group_id"] == group
        assert (await device.expect("membership"))["data"] == {"group_id": group, "change": "removed"}
    await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "secret"})
    await speaker.expect("new_message")
    for device in devices:
        assert [frame for frame in await device.settled() if frame["type"] == "new_message"] == []
        answer = await device.ask("send_message", {"group_id": group, "msg_type": 1, "content": "still here?"})
        assert answer["data"]["code"] == 403
    told = [frame for frame in devices[0].seen if frame["type"] == "group_member"]
    assert told[-1]["data"]["change"] == "removed"


async def test_a_disbanded_group_is_left_by_all(log_in: Connect, chat: Chat) -> None:
    owner, member = new_user(), new_user()
    group = await chat.group(owner, member)
    clients = [await log_in(owner), await log_in(member)]
    await chat.disband(group, owner)
    for client in clients:
        assert (await client.expect("group_left"))["data"]["group_id"] == group


async def test_who_is_removed_and_added_again_hears_the_group_again(log_in: Connect, chat: Chat) -> None:
    owner, user = new_user(), new_user()
    group = await chat.group(owner, user)
    speaker, client = await log_in(owner), await log_in(user)
    await chat.remove(group, user, owner)
    await client.expect("group_left")
    await chat.add(group, user)
    await client.expect("group_joined")
    await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "again"})
    assert (await client.expect("new_message"))["data"]["content"] == "again"


async def test_a_group_left_by_choice_stays_left_when_something_else_changes(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    left, other = await chat.group(user), await chat.group(new_user())
    client = await log_in(user)
    await client.ask("leave_group", {"group_id": left})
    await chat.add(other, user)
    assert (await client.expect("group_joined"))["data"]["group_id"] == other
    assert [f for f in await client.settled() if f["type"] == "group_joined"] == []


async def test_a_group_made_while_online_can_be_joined_before_its_event_arrives(log_in: Connect, chat: Chat) -> None:
    user = new_user()
    client = await log_in(user)
    group = await chat.group(user)
    answer = await client.ask("join_group", {"group_id": group})
    assert (answer["type"], answer["data"]["group_id"]) == ("group_joined", group)


async def test_membership_is_asked_again_after_the_layer_was_deaf(log_in: Connect, chat: Chat, stack: Stack) -> None:
    """The event was lost with whatever else was said meanwhile; the answer isn't."""
    owner, removed, member = new_user(), new_user(), new_user()
    group = await chat.group(owner, removed, member)
    gone, other = await log_in(removed), await log_in(member)
    stack.remove_silently(group, removed)
    stack.break_subscriptions()
    assert (await gone.expect("group_left"))["data"]["group_id"] == group
    assert [frame for frame in await other.settled() if frame["type"] == "group_left"] == []

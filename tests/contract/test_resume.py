"""Check resuming: missed frames follow in order, or the client is notified of the loss (docs/protocol.md)."""

from typing import Any

import pytest

from tests.conftest import Connect
from tests.support.announced import announced
from tests.support.chat import Chat, new_user
from tests.support.client import Client, Frame, make_token
from tests.support.stack import Stack


def place(frame: Frame, feed: str) -> dict[str, Any]:
    [found] = [one for one in frame["data"]["feeds"] if one["feed"] == feed]
    return dict(found)


def point(place: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": place["epoch"], "offset": place["offset"]}


async def say(client: Client, group: str, *texts: str) -> None:
    for text in texts:
        answer = await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": text})
        assert answer["type"] == "ack", answer
        shown = await client.expect("new_message")
        assert shown["data"]["content"] == text


async def test_missed_frames_follow_auth_success_before_live_frames(
    log_in: Connect, sockets: Connect, chat: Chat, stack: Stack
) -> None:
    owner, user = new_user(), new_user()
    group = await announced(stack, await chat.group(owner, user), 2)
    speaker = await log_in(owner)
    first = await sockets()
    welcome = await first.ask("auth", {"token": make_token(user)})
    resume = {one["feed"]: point(one) for one in welcome["data"]["feeds"]}
    assert set(resume) == {f"user:{user}", f"group:{group}"}
    await first.close()
    await say(speaker, group, "1", "2", "3")

    again = await sockets()
    welcome = await again.ask("auth", {"token": make_token(user), "resume": resume})
    assert place(welcome, f"user:{user}")["recovered"] is True
    back = place(welcome, f"group:{group}")
    assert back["recovered"] is True
    assert back["offset"] == resume[f"group:{group}"]["offset"] + 3
    tail = [await again.recv() for _ in range(3)]
    assert [frame["data"]["content"] for frame in tail] == ["1", "2", "3"]
    assert [frame["offset"] for frame in tail] == [back["offset"] - 2, back["offset"] - 1, back["offset"]]
    await say(speaker, group, "4")
    live = await again.recv()
    assert (live["data"]["content"], live["offset"]) == ("4", back["offset"] + 1)


async def test_unrecoverable_feed_is_reported_and_not_replayed(
    log_in: Connect, sockets: Connect, chat: Chat, stack: Stack
) -> None:
    user = new_user()
    group = await announced(stack, await chat.group(user), 1)
    feed = f"group:{group}"
    client = await log_in(user)
    await say(client, group, "1")
    epoch = place(client.seen[0], feed)["epoch"]
    for bad in ({"epoch": "of long ago", "offset": 0}, {"epoch": epoch, "offset": 99}):
        back = await sockets()
        welcome = await back.ask("auth", {"token": make_token(user), "resume": {feed: bad, f"user:{user}": bad}})
        assert place(welcome, feed)["recovered"] is False
        assert [frame for frame in await back.settled() if "offset" in frame] == []


async def test_resume_is_limited_to_own_feeds(log_in: Connect, sockets: Connect, chat: Chat, stack: Stack) -> None:
    owner, stranger = new_user(), new_user()
    group = await announced(stack, await chat.group(owner), 1)
    client = await log_in(owner)
    await say(client, group, "secret")
    epoch = place(client.seen[0], f"group:{group}")["epoch"]
    nosy = await sockets()
    resume = {f"group:{group}": {"epoch": epoch, "offset": 0}, f"user:{owner}": {"epoch": epoch, "offset": 0}}
    welcome = await nosy.ask("auth", {"token": make_token(stranger), "resume": resume})
    assert [one["feed"] for one in welcome["data"]["feeds"]] == [f"user:{stranger}"]
    assert "recovered" not in welcome["data"]["feeds"][0]
    assert [frame for frame in await nosy.settled() if "offset" in frame] == []


async def test_left_group_is_joined_again_with_its_tail(log_in: Connect, chat: Chat, stack: Stack) -> None:
    owner, user = new_user(), new_user()
    group = await announced(stack, await chat.group(owner, user), 2)
    speaker, client = await log_in(owner), await log_in(user)
    left = place(client.seen[0], f"group:{group}")
    await client.ask("leave_group", {"group_id": group})
    await say(speaker, group, "1", "2")
    joined = await client.ask("join_group", {"group_id": group, "resume": point(left)})
    assert (joined["type"], joined["data"]["recovered"]) == ("group_joined", True)
    assert joined["data"]["offset"] == left["offset"] + 2
    assert [(await client.recv())["data"]["content"] for _ in range(2)] == ["1", "2"]
    bad = await client.ask("join_group", {"group_id": group, "resume": {"epoch": "", "offset": 0}})
    assert "recovered" not in bad["data"], "heard already: resume is ignored"


async def test_late_removal_does_not_affect_a_member(log_in: Connect, chat: Chat, stack: Stack) -> None:
    """Deliver a removal that was reverted long ago: the user leaves, is found to be a member, and rejoins."""
    owner, user = new_user(), new_user()
    group = await announced(stack, await chat.group(owner, user), 2)
    speaker, client = await log_in(owner), await log_in(user)
    stack.add_entry("chat.group.member.removed", {"group_id": group, "user_id": user})
    await say(speaker, group, "1", "2")
    assert (await client.expect("group_left"))["data"]["group_id"] == group
    joined = await client.expect("group_joined")
    assert joined["data"]["recovered"] is True
    await client.expect("new_message", lambda frame: frame["data"]["content"] == "2")
    offsets = [f["offset"] for f in client.seen if f.get("feed") == f"group:{group}"]
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    assert [f["data"]["content"] for f in client.seen if f["type"] == "new_message"] == ["1", "2"]


async def test_late_or_repeated_addition_subscribes_nobody(log_in: Connect, chat: Chat, stack: Stack) -> None:
    owner, stranger = new_user(), new_user()
    group = await announced(stack, await chat.group(owner), 1)
    speaker, client = await log_in(owner), await log_in(stranger)
    for _ in range(2):
        stack.add_entry("chat.group.member.added", {"group_id": group, "user_id": stranger})
    await client.expect("membership")
    await client.expect("membership")
    await say(speaker, group, "secret")
    assert [f["type"] for f in await client.settled() if f["type"] in ("group_joined", "new_message")] == []


async def test_message_waits_for_the_membership_lookup(log_in: Connect, chat: Chat, stack: Stack) -> None:
    user = new_user()
    group = await announced(stack, await chat.group(user), 1)
    client = await log_in(user)
    await client.ask("join_group", {"group_id": "unknown"})  # for the next 5 s no lookup runs without a cause
    stack.lose_log(f"group:{group}")
    await client.expect("feed_reset")
    answer = await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": "at once"})
    assert answer["type"] == "ack", answer


@pytest.mark.reference_only
async def test_removal_lost_with_its_log_still_applies(log_in: Connect, chat: Chat, stack: Stack) -> None:
    owner, removed, member = new_user(), new_user(), new_user()
    group = await announced(stack, await chat.group(owner, removed, member), 3)
    speaker, gone, other = await log_in(owner), await log_in(removed), await log_in(member)
    stack.remove_silently(group, removed)
    stack.lose_log(f"group:{group}")
    for client in (gone, other, speaker):
        assert (await client.expect("feed_reset"))["data"]["recovered"] is False
    joined = await other.expect("group_joined")
    assert joined["data"]["recovered"] is True
    await speaker.expect("group_joined")
    assert (await gone.expect("group_left"))["data"] == {"group_id": group}
    await say(speaker, group, "secret")
    await other.expect("new_message")
    assert "group_left" not in {frame["type"] for client in (other, speaker) for frame in client.seen}
    assert [f["type"] for f in await gone.settled() if f["type"] in ("group_joined", "new_message")] == []

"""Check read cursors of the reference chat service over gRPC (`chat.ext.ReadCursors`)."""

from typing import Any

import grpc
import pytest

from chatws.chat_service.pb import ext_pb2 as ext
from tests.support.chat import Chat, new_user

pytestmark = pytest.mark.database


async def said(chat: Chat, group: str, sender: int, count: int) -> list[str]:
    """Store so many messages and return their ids."""
    ids = [f"{group}-{sender}-{number}" for number in range(count)]
    for message_id in ids:
        await chat.say(group, sender, "hello", message_id)
    return ids


async def unread(chat: Chat, user: int, *groups: str) -> dict[str, tuple[str, int]]:
    answer = await chat.ext.GetUserCursors(ext.GetUserCursorsReq(user_id=user, group_ids=groups))
    return {cursor.group_id: (cursor.message_id, cursor.unread_count) for cursor in answer.cursors}


async def test_cursor_moves_forward_only(chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    first, second, third = await said(chat, group, user, 3)
    assert await chat.mark_read(user, group, second) == second
    assert await chat.mark_read(user, group, first) == second
    assert await chat.mark_read(user, group, second) == second
    assert await chat.mark_read(user, group, third) == third


async def test_unread_counts_messages_of_others_after_the_cursor(chat: Chat) -> None:
    user, other = new_user(), new_user()
    group, empty = await chat.group(user, other), await chat.group(user)
    theirs = await said(chat, group, other, 3)
    await said(chat, group, user, 2)
    assert await unread(chat, user, group, empty) == {group: ("", 3), empty: ("", 0)}
    await chat.mark_read(user, group, theirs[1])
    assert await unread(chat, user, group, empty) == {group: (theirs[1], 1), empty: ("", 0)}
    assert await unread(chat, other, group, empty) == {group: ("", 2)}


async def test_cursors_of_group_members_are_listed(chat: Chat) -> None:
    readers, lazy = [new_user(), new_user()], new_user()
    group = await chat.group(*readers, lazy)
    ids = await said(chat, group, lazy, 2)
    for reader, message_id in zip(readers, ids, strict=True):
        await chat.mark_read(reader, group, message_id)
    request = ext.GetGroupCursorsReq(group_id=group, user_ids=[*readers, lazy])
    found = (await chat.ext.GetGroupCursors(request)).cursors
    assert {cursor.user_id: cursor.message_id for cursor in found} == dict(zip(readers, ids, strict=True))
    assert all(cursor.read_at > 0 for cursor in found)


@pytest.mark.parametrize(
    ("missing", "status"), [("group", "NOT_FOUND"), ("message", "NOT_FOUND"), ("member", "PERMISSION_DENIED")]
)
async def test_unmarkable_message_is_rejected(chat: Chat, missing: str, status: str) -> None:
    user = new_user()
    group = await chat.group(user)
    [message] = await said(chat, group, user, 1)
    wrong = {"group": "nosuchgroup", "message": "nosuchmessage", "member": new_user()}
    given: dict[str, Any] = {"group": group, "message": message, "member": user, missing: wrong[missing]}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await chat.mark_read(given["member"], given["group"], given["message"])
    assert caught.value.code().name == status

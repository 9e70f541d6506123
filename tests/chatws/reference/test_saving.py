"""Check messages that are saved in one batch: each has its own outcome, and none affects another."""

import asyncio

import grpc
import pytest

from chatws.chat_service.pb import chat_pb2 as pb
from tests.conftest import Connect
from tests.support.chat import Chat, new_user
from tests.support.database import ON_POSTGRES
from tests.support.stack import Stack
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.database


def message(group_id: str, sender: int, number: int, content: str) -> pb.SaveMessageReq:
    return pb.SaveMessageReq(
        message_id=f"{group_id}-{number}", group_id=group_id, sender_id=sender, msg_type=1, content=content
    )


async def outcomes(calls: list[grpc.aio.UnaryUnaryCall[pb.SaveMessageReq, pb.SaveMessageResp]]) -> list[str]:
    return [(await call.code()).name for call in calls]


async def test_each_message_of_a_batch_has_its_own_outcome(chat: Chat, stack: Stack) -> None:
    user, stranger = new_user(), new_user()
    group, other = await chat.group(user), await chat.group(user)
    over = await chat.group(user)
    await chat.disband(over, user)
    requests = [
        message(group, user, 1, "one"),
        message(group, user, 2, "two"),
        message(group, stranger, 3, "of a stranger"),
        message("none", user, 4, "to nobody"),
        message(over, user, 5, "too late"),
        message(group, user, 6, ""),
        message(group, user, 2, "two, once more"),
        message(other, user, 7, "elsewhere"),
        message(group, user, 8, "eight"),
    ]
    with stack.group_locked(group):
        calls = [chat.stub.SaveMessage(request) for request in requests]
        impatient = chat.stub.SaveMessage(message(group, user, 9, "nine"), timeout=1)
        assert await outcomes([impatient]) == ["DEADLINE_EXCEEDED"]  # so the others have arrived too
    assert await outcomes(calls) == [
        "OK", "OK", "PERMISSION_DENIED", "NOT_FOUND", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "OK", "OK", "OK",
    ]  # fmt: skip
    said = [text for text in await chat.history(group) if text != "nine"]  # no call waits for it any more
    assert sorted(said) in (["eight", "one", "two"], ["eight", "one", "two, once more"]), "whichever arrived first"
    assert await chat.history(other) == ["elsewhere"]


async def test_message_the_database_rejects_fails_no_other(chat: Chat, stack: Stack) -> None:
    user = new_user()
    group = await chat.group(user)
    with stack.group_locked(group):
        calls = [chat.stub.SaveMessage(message(group, user, number, f"{number}")) for number in range(5)]
        unheard = chat.stub.SaveMessage(message(group, user, 5, "too \0 strange for PostgreSQL"), timeout=1)
        calls += [chat.stub.SaveMessage(message(group, user, number, f"{number}")) for number in range(6, 10)]
        assert await outcomes([unheard]) == ["DEADLINE_EXCEEDED"]
    assert await outcomes(calls) == ["OK"] * 9
    assert {said for said in await chat.history(group) if len(said) == 1} == set("0123456789") - {"5"}


async def test_locked_group_blocks_no_other_on_postgres(chat: Chat, stack: Stack) -> None:
    user = new_user()
    group, other = await chat.group(user), await chat.group(user)
    with stack.group_locked(group):
        held = chat.stub.SaveMessage(message(group, user, 1, "held"), timeout=0.5)
        assert await outcomes([held]) == ["DEADLINE_EXCEEDED"]
        passing = chat.stub.SaveMessage(message(other, user, 2, "passing"), timeout=LIMIT if ON_POSTGRES else 2)
        assert await outcomes([passing]) == (["OK"] if ON_POSTGRES else ["DEADLINE_EXCEEDED"])


async def test_burst_is_published_once_in_history_order(chat: Chat, log_in: Connect) -> None:
    user = new_user()
    group = await chat.group(user)
    listener = await log_in(user)
    texts = [str(number) for number in range(100)]
    calls = [chat.stub.SaveMessage(message(group, user, number, text)) for number, text in enumerate(texts)]
    await asyncio.gather(*calls)
    heard = [(await listener.expect("new_message"))["data"]["content"] for _ in texts]
    assert sorted(heard) == sorted(texts)
    assert heard == await chat.history(group)

"""Check how the Python client fetches and renews its token."""

import asyncio

import pytest

from chatws.client import Closed, Connected, Disconnected
from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.python_client import Enter
from tests.support.stack import Stack


async def test_rejected_token_is_renewed_once_before_the_end(enter: Enter, chat: Chat) -> None:
    user = await enter(new_user(), token="bad")
    await user.until(lambda: user.closed)
    assert user.closed == 4401
    with pytest.raises(Closed):
        await user.client.ready()
    someone = new_user()
    asked: list[bool] = []

    async def fetch(*, fresh: bool) -> str:
        asked.append(fresh)
        return make_token(someone) if fresh else "bad"

    user = await enter(someone, token=fetch)
    await user.client.ready()
    assert [event.code for event in user.of(Disconnected)] == [4401]
    assert asked == [False, True]

    async def always_bad(*, fresh: bool) -> str:
        return "bad"

    user = await enter(someone, token=always_bad)
    await user.until(lambda: user.closed)
    assert user.closed == 4401
    with pytest.raises(Closed, match="4401: "):
        await user.client.send_message("g", "x")


async def test_token_after_a_revocation_has_a_later_second(enter: Enter, stack: Stack) -> None:
    user_id = new_user()

    async def bring(*, fresh: bool) -> str:
        return make_token(user_id)

    user = await enter(user_id, token=bring)
    await user.client.ready()
    await asyncio.to_thread(stack.manage, "revoke", "--user", str(user_id))
    await user.until(lambda: len(user.of(Connected)) == 2)
    assert [(gone.code, gone.reason) for gone in user.of(Disconnected)] == [(4401, "revoked")]


async def test_raising_token_function_is_reported_and_retried(enter: Enter, chat: Chat) -> None:
    someone = new_user()
    failures = iter([OSError("the identity provider is away"), KeyError("access")])

    async def fetch(*, fresh: bool) -> str:
        if (error := next(failures, None)) is not None:
            raise error
        return make_token(someone)

    user = await enter(someone, token=fetch)
    await user.client.ready()
    assert [event.message for event in user.of(Disconnected)] == [
        "no token: OSError: the identity provider is away",
        "no token: KeyError: 'access'",
    ]


async def test_token_function_without_a_login_ends_the_client(enter: Enter) -> None:
    async def nobody(*, fresh: bool) -> None:
        return None

    user = await enter(new_user(), token=nobody)
    with pytest.raises(Closed, match="there is no token") as caught:
        await user.client.ready()
    assert (caught.value.code, caught.value.reason) == (4401, "missing")


async def test_token_is_renewed_before_it_expires(enter: Enter, chat: Chat) -> None:
    someone = new_user()
    group = await chat.group(someone)
    asked: list[bool] = []

    async def fetch(*, fresh: bool) -> str:
        asked.append(fresh)
        if asked == [False, True]:
            raise OSError("not just now")
        return make_token(someone, 600 if fresh else 16)  # renewed at half, with more than 3 s left

    user = await enter(someone, token=fetch)
    renewed = await user.until(lambda: [frame for frame in user.raw if frame["type"] == "auth_success"][1:])
    assert asked == [False, True, True]
    assert renewed[0]["data"]["expires_at"] > renewed[0]["timestamp"] + 500
    assert await user.client.send_message(group, "still here")
    assert user.of(Disconnected) == []

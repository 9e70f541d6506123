"""Fixtures of the Python client's tests: users whose connections go through a proxy."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chatws.client import ChatClient
from tests.support.client import make_token
from tests.support.proxy import Proxy
from tests.support.python_client import User
from tests.support.stack import Gateway
from tests.support.wire import CheckedProxy


@pytest.fixture
async def proxy(gateway: Gateway) -> AsyncIterator[Proxy]:
    async with CheckedProxy(gateway.port) as proxy:
        yield proxy


@pytest.fixture
async def enter(proxy: Proxy) -> AsyncIterator[Callable[..., Any]]:
    entered: list[tuple[ChatClient, asyncio.Task[None]]] = []

    async def enter(user_id: int, **options: Any) -> User:
        raw: list[dict[str, Any]] = []
        options = {"token": make_token(user_id), "first_wait": 0.05, "observer": raw.append, **options}
        client = ChatClient(f"ws://127.0.0.1:{proxy.port}/ws", **options)
        user = User(client)
        user.raw = raw
        await client.__aenter__()
        entered.append((client, asyncio.create_task(user.listen())))
        return user

    yield enter
    for client, task in entered:
        await client.close()
        await task

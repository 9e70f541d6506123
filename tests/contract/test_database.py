"""What the processes keep of the database while nobody needs it."""

import asyncio

import httpx
import pytest

from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.database

REQUESTS, FEW = 60, 10


async def test_requests_that_are_over_keep_no_connection_to_the_database(
    http: httpx.AsyncClient, gateway: Gateway, stack: Stack
) -> None:
    before = stack.database_connections(gateway)
    for _ in range(REQUESTS):
        answer = await http.post("/api/token/", json={"username": "alice", "password": "demo"})
        assert answer.status_code == 200, answer.text
    async with asyncio.timeout(10):  # PostgreSQL counts one that was closed until its own process has ended
        while (kept := stack.database_connections(gateway) - before) > FEW:
            await asyncio.sleep(0.1)
    assert kept <= FEW

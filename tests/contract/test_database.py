"""Check that idle processes keep no database connections."""

import httpx
import pytest

from tests.support.stack import Gateway, Stack
from tests.support.waiting import until

pytestmark = pytest.mark.database

REQUESTS, FEW = 60, 10


@pytest.mark.reference_only
async def test_finished_requests_keep_no_database_connection(
    http: httpx.AsyncClient, gateway: Gateway, stack: Stack
) -> None:
    before = stack.database_connections(gateway)
    for _ in range(REQUESTS):
        answer = await http.post("/api/token/", json={"username": "alice", "password": "demo"})
        assert answer.status_code == 200, answer.text
    # PostgreSQL counts a closed connection until its backend process has ended.
    await until(
        lambda: stack.database_connections(gateway) - before, lambda kept: kept <= FEW, "few connections are kept"
    )

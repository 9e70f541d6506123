"""Check what happens while the chat service's database takes no writes: its disk is full, or it is a standby."""

import json
import resource
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.chat import new_user
from tests.support.client import bearer, connect
from tests.support.database import ON_POSTGRES
from tests.support.redis import free_port
from tests.support.stack import Process, Stack
from tests.support.waiting import LIMIT, until

pytestmark = [pytest.mark.database, pytest.mark.reference_only]

SPACE = 256 * 1024
"""The largest file that the chat service may write while its disk is full; SQLite's log of changes reaches it soon."""


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("full"))
    try:
        yield stack
    finally:
        stack.stop()


@contextmanager
def taking_no_writes(stack: Stack, rpc: Process) -> Iterator[None]:
    """SQLite: no space on the disk. PostgreSQL: every transaction is read-only, as on a standby after a failover."""
    if not ON_POSTGRES:
        before = resource.prlimit(rpc.pid, resource.RLIMIT_FSIZE, (SPACE, resource.RLIM_INFINITY))
        yield
        resource.prlimit(rpc.pid, resource.RLIMIT_FSIZE, before)
        return
    name = stack.env["DATABASE_URL"].rpartition("/")[2]
    end_others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid != pg_backend_pid()"
    with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        connection.execute(end_others, [name])
        yield
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
        connection.execute(end_others, [name])


def ready(address: str) -> tuple[int, dict[str, str]]:
    try:
        with urllib.request.urlopen(f"http://{address}/ready", timeout=LIMIT) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def test_database_without_space_answers_503_and_recovers(whole: Stack) -> None:
    whole.redis.start()
    whole.migrate()
    probes = f"127.0.0.1:{free_port()}"
    rpc = whole.start_rpc("--probes", probes)
    gateway = whole.start_gateway(
        CHATWS_SENDS_PER_SECOND="0", CHATWS_FRAMES_PER_SECOND="0", CHATWS_BYTES_PER_SECOND="0"
    )
    chat, user = whole.chat(), new_user()
    group = await chat.group(user)
    client = await connect(gateway.ws, additional_headers=bearer(user))
    await client.expect("auth_success")
    sent = 0

    async def send() -> int:
        """Send a message; return 0 if it was stored, else the error's code."""
        nonlocal sent
        sent += 1
        content = f"{sent} {'x' * 4_000}"
        answer = await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": content})
        if answer["type"] == "ack":
            return 0
        assert answer["data"]["retry_after"] >= 1, answer
        return int(answer["data"]["code"])

    assert await send() == 0
    assert ready(probes)[0] == 200
    with taking_no_writes(whole, rpc):
        codes = set()
        while 503 not in codes:
            assert sent < 500, "space was left"
            codes.add(await send())
        assert codes <= {0, 503}
        status, states = ready(probes)
        assert status == 503
        assert states["database"].startswith("the database is unavailable: ")
    await until(lambda: ready(probes), lambda seen: seen == (200, {"redis": "ok", "database": "ok"}), "it recovers")
    codes = set()
    while 0 not in codes:
        codes.add(await send())
    await client.close()
    await chat.close()

"""Check the chat on PostgreSQL behind PgBouncer in transaction mode (`CHATWS_DATABASE_POOLER`)."""

import csv
import io
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from tests.contract.test_admin import LIST, Admin
from tests.support.chat import new_user
from tests.support.client import bearer, connect
from tests.support.postgres import PostgresServer
from tests.support.redis import free_port
from tests.support.stack import Stack
from tests.support.waiting import LIMIT, wait_until
from tools.pgbouncer import find

ROWS = 5_000
"""More rows than a download reads at once."""


class Pooler:
    """A PgBouncer in transaction mode that uses each connection to the server for one transaction only.

    A pooler does so by chance where many clients share few connections.
    """

    def __init__(self, server: PostgresServer) -> None:
        program = find()
        assert program, "no PgBouncer: run `make pgbouncer`"
        self.port = free_port()
        configuration = server.folder / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=chatws\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 8\nserver_lifetime = 0\n"
        )
        with (server.folder / "pgbouncer.log").open("ab") as log:
            self._process = subprocess.Popen([program, str(configuration)], stdout=log, stderr=log, **server.as_owner())
        wait_until(self._listens, what="PgBouncer listens")

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=LIMIT)


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Stack]:
    """Start a chat whose processes all reach their database through a pooler."""
    pooler = Pooler(postgres_server)
    url = postgres_server.fresh_database().replace(f":{postgres_server.port}/", f":{pooler.port}/")
    stack = Stack(tmp_path_factory.mktemp("pooled"), DATABASE_URL=url, CHATWS_DATABASE_POOLER="1")
    try:
        stack.redis.start()
        stack.manage("migrate", "--verbosity", "0")
        stack.manage("seed_demo")
        stack.start_rpc()
        stack.start_relay()
        stack.start_gateway()
        yield stack
    finally:
        stack.stop()
        pooler.stop()


async def downloaded(stack: Stack, address: str) -> int:
    """Return how many records of the audit the admin's action gives for all; 0 if it fails."""
    async with httpx.AsyncClient(base_url=address, timeout=LIMIT) as http:
        admin = Admin(http)
        await admin.log_in()
        [(key,)] = stack.query("SELECT min(id) FROM realtime_connectionrecord")
        data = {"action": "download_csv", "_selected_action": str(key), "select_across": "1"}
        with suppress(httpx.HTTPError):
            return len(list(csv.reader(io.StringIO((await admin.post(LIST, data)).text)))) - 1
    return 0


@pytest.mark.reference_only
async def test_chat_runs_behind_a_pooler(pooled: Stack) -> None:
    user = new_user()
    chat = pooled.chat()
    group = await chat.group(user)
    client = await connect(pooled.gateway.ws, additional_headers=bearer(user))
    await client.expect("auth_success")
    for number in range(5):
        answer = await client.ask("send_message", {"group_id": group, "msg_type": 1, "content": f"{number}"})
        assert answer["type"] == "ack", answer
    pooled.manage("revoke", "--user", str(user))
    assert await client.closed() == 4401
    await chat.close()


@pytest.mark.reference_only
async def test_large_reads_need_the_setting(pooled: Stack) -> None:
    pooled.query(
        "INSERT INTO realtime_connectionrecord (connection_id, node, address, user_agent, way, opened_at, frames_in,"
        " frames_out, bytes_in, bytes_out) SELECT 'c' || n, 'node', '', '', '', now(), 0, 0, 0, 0"
        " FROM generate_series(1, %s) n",
        ROWS,
    )
    assert await downloaded(pooled, pooled.gateway.http) >= ROWS
    without = pooled.start_gateway(CHATWS_DATABASE_POOLER="0")
    assert await downloaded(pooled, without.http) < ROWS
    assert "InvalidCursorName" in without.log.read_text()

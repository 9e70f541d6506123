"""Check the connection audit in the real admin, and that ending a connection there closes its socket."""

import re
from pathlib import Path

import httpx
import pytest
import redis

from tests.conftest import Connect
from tests.support.chat import new_user
from tests.support.client import bearer, connect
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT, until_answer

pytestmark = pytest.mark.database

LIST = "/admin/realtime/connectionrecord/"


class Admin:
    """A client of the admin that logs in, reads pages and posts actions."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def log_in(self) -> None:
        await self._http.get("/admin/login/")
        answer = await self.post("/admin/login/", {"username": "admin", "password": "demo", "next": LIST})
        assert answer.status_code == 302, answer.text

    async def rows(self, **query: str) -> list[str]:
        """Return the rows of the list as text."""
        page = (await self._http.get(LIST, params=query)).text
        body = page.partition("<tbody>")[2].partition("</tbody>")[0]
        rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
        return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)) + self._key(row) for row in rows]

    async def rows_until(self, text: str, **query: str) -> list[str]:
        rows = await until_answer(
            lambda: self.rows(**query), lambda rows: any(text in row for row in rows), f"a row with {text!r}"
        )
        return [row for row in rows if text in row]

    async def end(self, row: str, action: str = "end_connections") -> str:
        key = row.rpartition("key=")[2]
        data = {"action": action, "_selected_action": key}
        answer = await self.post(LIST, data)
        assert answer.status_code == 302, answer.text
        return (await self._http.get(LIST)).text

    async def revoke(self, **fields: str) -> None:
        """Post the form that adds a revocation."""
        empty = {"jti": "", "user": "", "until_0": "", "until_1": ""}
        answer = await self.post("/admin/realtime/revocation/add/", {**empty, **fields})
        assert answer.status_code == 302, answer.text

    async def post(self, path: str, data: dict[str, str]) -> httpx.Response:
        token = self._http.cookies["csrftoken"]
        return await self._http.post(path, data={**data, "csrfmiddlewaretoken": token})

    @staticmethod
    def _key(row: str) -> str:
        found = re.search(r'name="_selected_action" value="(\d+)"', row)
        return f"key={found[1]}" if found else ""


async def test_connection_shows_close_code_and_can_be_ended(
    gateway: Gateway, log_in: Connect, sockets: Connect
) -> None:
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
        admin = Admin(http)
        await admin.log_in()

        user = new_user()
        client = await log_in(user)
        [row] = await admin.rows_until("open", q=str(user))
        assert " frame " in row
        page = await admin.end(row)
        assert "Requested the termination of 1 connection(s)." in page
        assert await client.closed() == 4403
        await admin.rows_until("4403 closed by an administrator", q=str(user))

        client = await log_in(user)
        [row] = await admin.rows_until("open", q=str(user))
        assert "Revoked the tokens of 1 user(s)." in await admin.end(row, "revoke_tokens")
        assert await client.closed() == 4401
        kept = (await http.get("/admin/admin/logentry/")).text
        assert "Requested the termination of the connection." in kept
        assert "Revoked all tokens of its user." in kept
        assert f"user:{user}" in (await http.get("/admin/realtime/revocation/")).text

        gone = new_user()
        client = await log_in(gone)
        await client.ask("ping")
        await client.close()
        [row] = await admin.rows_until("1000 closed normally", q=str(gone))
        assert re.search(r" 2 \(\d+\) / 2 \(\d+\)", row)

        refused = await sockets(additional_headers={"Authorization": "Bearer nonsense", "User-Agent": f"agent-{user}"})
        assert await refused.closed() == 4401
        await admin.rows_until(f"agent-{user}", code="4401")
        assert not [row for row in await admin.rows(open="1") if f" {user} " in row]


async def test_added_revocation_closes_sockets_of_its_tokens(gateway: Gateway) -> None:
    user, other = new_user(), new_user()
    one, two, unharmed = [
        await connect(gateway.ws, additional_headers=bearer(who, jti=f"{device}-{who}"))
        for who, device in ((user, "one"), (user, "two"), (other, "one"))
    ]
    for client in (one, two, unharmed):
        await client.expect("auth_success")
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
        admin = Admin(http)
        await admin.log_in()
        for client, fields in (
            (one, {"what": "token", "jti": f"one-{user}"}),
            (two, {"what": "user", "user": str(user)}),
        ):
            await admin.revoke(**fields)
            assert (await client.expect("auth_failed"))["data"]["reason"] == "revoked"
            assert await client.closed() == 4401
        assert (await unharmed.ask("ping"))["type"] == "pong"
    await unharmed.close()


async def test_reaper_closes_connections_of_a_killed_gateway(tmp_path: Path, log_in: Connect) -> None:
    stack = Stack(tmp_path, CHATWS_PRESENCE_LEASE="4")
    try:
        gateway, doomed = stack.start(), stack.start_gateway()
        user = new_user()
        async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
            admin = Admin(http)
            await admin.log_in()
            await log_in(user, doomed.ws)
            await admin.rows_until("open", q=str(user))
            doomed.kill()
            await admin.rows_until("1006 the connection broke off", q=str(user))
    finally:
        stack.stop()


async def test_missed_termination_request_is_still_carried_out(stack: Stack, log_in: Connect) -> None:
    client = await log_in(new_user())
    connection_id = client.seen[0]["data"]["connection_id"]
    with redis.Redis.from_url(stack.redis.url) as redis_client:
        redis_client.xadd("chatws:terminations", {connection_id: 4403})
    assert await client.closed() == 4403

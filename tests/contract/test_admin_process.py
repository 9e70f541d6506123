"""Check where Django's admin is served: on the gateway, or by a process of its own (`CHATWS_ADMIN`)."""

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import Connect
from tests.contract.test_admin import Admin
from tests.support.chat import new_user
from tests.support.client import bearer, connect
from tests.support.stack import Stack
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.database


async def test_gateway_without_the_admin_answers_404(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_ADMIN="off")
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
        for path in ("/admin/", "/admin/login/", "/admin/realtime/connectionrecord/overview/"):
            assert (await http.get(path)).status_code == 404
        assert (await http.get("/")).status_code == 200
    gateway.stop()


@pytest.mark.ours_only
async def test_admin_process_serves_the_admin_and_ends_connections(log_in: Connect, stack: Stack) -> None:
    process = stack.start_gateway(CHATWS_ADMIN="only")
    async with httpx.AsyncClient(base_url=process.http, timeout=LIMIT) as http:
        for path in ("/", "/api/messages", "/api/token/", "/stats", "/docs/api"):
            assert (await http.get(path)).status_code == 404, path
        assert (await http.get("/metrics")).status_code == 200
        assert (await http.get("/static/realtime/overview.js")).status_code == 200
        admin = Admin(http)
        await admin.log_in()
        user = new_user()
        client = await log_in(user)
        [row] = await admin.rows_until("open", q=str(user))
        assert "Requested the termination of 1 connection(s)." in await admin.end(row)
        assert await client.closed() == 4403
        overview = (await http.get("/admin/realtime/connectionrecord/overview/")).json()
        names = {gateway["name"] for gateway in overview["online"]["top"]}
    assert names, "the gateways are shown"
    assert " is up" not in process.log.read_text(), "it is no gateway"
    assert process.stop() == 0


@pytest.mark.ours_only
async def test_admin_process_rejects_sockets(stack: Stack) -> None:
    process = stack.start_gateway(CHATWS_ADMIN="only")
    with pytest.raises(InvalidStatus, match="403"):
        await connect(process.ws, additional_headers=bearer(new_user()))
    process.stop()

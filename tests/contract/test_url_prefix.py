"""Check a gateway below a path of its host, behind a proxy that strips the path and behind one that doesn't."""

import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import yaml

from tests.support.chat import new_user
from tests.support.client import connect, make_token
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT

PREFIX = "/chat"


@pytest.fixture(scope="module")
def below(stack: Stack) -> Iterator[Gateway]:
    gateway = stack.start_gateway(CHATWS_URL_PREFIX=f"{PREFIX}/")
    yield gateway
    gateway.kill()


@pytest.fixture(params=[PREFIX, ""], ids=["kept", "stripped"])
def path(request: pytest.FixtureRequest) -> str:
    """Return what is left of the prefix when a request has passed the proxy."""
    left: str = request.param
    return left


@pytest.fixture
async def http(below: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=below.http, timeout=LIMIT) as client:
        yield client


@pytest.mark.parametrize("end", ["/ws", "/ws/"])
async def test_socket_opens_with_and_without_the_prefix(below: Gateway, path: str, end: str) -> None:
    address = below.ws.removesuffix("/ws") + path + end
    client = await connect(address, additional_headers={"Authorization": f"Bearer {make_token(new_user())}"})
    assert (await client.recv())["type"] == "auth_success"
    await client.close()


@pytest.mark.parametrize("probe", ["/health", "/ws/health", "/ready", "/startup", "/metrics"])
async def test_probes_answer_with_and_without_the_prefix(http: httpx.AsyncClient, path: str, probe: str) -> None:
    assert (await http.get(path + probe, headers={"Host": "10.1.2.3"})).status_code == 200


@pytest.mark.parametrize("page", ["/", "/docs/socket", "/docs/api", "/admin/login/"])
async def test_every_address_of_a_page_has_the_prefix(http: httpx.AsyncClient, path: str, page: str) -> None:
    text = (await http.get(path + page)).raise_for_status().text
    addresses = re.findall(r'(?:href|src|action|data-base)="(/[^"]*)"', text)
    assert addresses
    assert [one for one in addresses if not one.startswith(f"{PREFIX}/")] == []
    for one in addresses:
        if "/static/" in one:
            assert (await http.get(path + one.removeprefix(PREFIX))).status_code == 200, one


async def test_redirects_and_cookies_stay_below_the_prefix(http: httpx.AsyncClient, path: str) -> None:
    inside = await http.get(f"{path}/admin/")
    assert inside.headers["location"] == f"{PREFIX}/admin/login/?next={PREFIX}/admin/"
    slash = await http.get(f"{path}/admin/login")
    assert slash.headers["location"].startswith(f"{PREFIX}/admin/login")
    icon = await http.get(f"{path}/favicon.ico")
    assert icon.headers["location"].startswith(f"{PREFIX}/static/")
    page = await http.get(f"{path}/admin/login/")
    token = page.cookies["csrftoken"]
    logged_in = await http.post(
        f"{path}/admin/login/?next={PREFIX}/admin/", headers={"Cookie": f"csrftoken={token}"},
        data={"username": "admin", "password": "demo", "csrfmiddlewaretoken": token, "next": f"{PREFIX}/admin/"},
    )  # fmt: skip
    assert (logged_in.status_code, logged_in.headers["location"]) == (302, f"{PREFIX}/admin/")
    cookies = [*page.headers.get_list("set-cookie"), *logged_in.headers.get_list("set-cookie")]
    assert {re.search(r"Path=([^;]*)", cookie, re.IGNORECASE)[1] for cookie in cookies} == {PREFIX}  # type: ignore[index]


async def test_documents_name_the_prefix(http: httpx.AsyncClient, path: str) -> None:
    openapi = yaml.safe_load((await http.get(f"{path}/docs/openapi.yaml")).text)
    assert openapi["servers"] == [{"url": PREFIX}]
    assert not [name for name in openapi["paths"] if name.startswith(PREFIX)]
    asyncapi = yaml.safe_load((await http.get(f"{path}/docs/asyncapi.yaml")).text)
    assert asyncapi["channels"]["socket"]["address"] == f"{PREFIX}/ws"


@pytest.mark.parametrize("other", ["/chatty/health", "/chat/chat/health", "/chatws"])
async def test_similar_path_is_not_the_prefix(http: httpx.AsyncClient, other: str) -> None:
    assert (await http.get(other)).status_code == 404


async def test_api_is_served_with_and_without_the_prefix(http: httpx.AsyncClient, path: str) -> None:
    user = new_user()
    answer = await http.get(f"{path}/api/users/{user}/groups", headers={"Authorization": f"Bearer {make_token(user)}"})
    assert answer.json()["data"]["total"] == 0
    assert (await http.get(f"{path}/stats")).status_code == 200

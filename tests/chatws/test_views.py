"""HTTP on a real gateway (docs/protocol.md, HTTP)."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.stack import Gateway, Stack


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.http) as http:
        yield http


def bearer(user: int, **claims: object) -> dict[str, str]:
    return {"Authorization": f"Bearer {make_token(user, **claims)}"}  # type: ignore[arg-type]  # claims are free


@pytest.mark.parametrize("path", ["/health", "/ws/health"])
async def test_health(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.text) == (200, "OK")


async def test_ready_names_each_dependency(http: httpx.AsyncClient) -> None:
    answer = await http.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"gateway": "ok", "redis": "ok", "chat_rpc": "ok"})


async def test_ready_says_what_is_away(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        gateway = stack.start()
        stack.redis.kill()
        next(process for process in stack.processes if process.name.startswith("rpc")).kill()
        async with httpx.AsyncClient(base_url=gateway.http) as http:
            answer = await http.get("/ready")
            assert answer.status_code == 503
            assert f"127.0.0.1:{stack.redis.port}" in answer.json()["redis"]
            assert stack.rpc_target in answer.json()["chat_rpc"]
            assert (await http.get("/health")).status_code == 200
            refused = await http.get("/stats")
            assert (refused.status_code, refused.json()["code"]) == (503, 503)
    finally:
        stack.stop()


async def test_a_user_s_groups(http: httpx.AsyncClient, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user, name="mine")
    answer = await http.get(f"/api/users/{user}/groups", headers=bearer(user))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["code"], body["message"], body["data"]["total"]) == (0, "success", 1)
    [found] = body["data"]["groups"]
    assert (found["group_id"], found["name"], found["role"]) == (group, "mine", 2)


async def test_messages_of_a_group(http: httpx.AsyncClient, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    for number in range(3):
        await chat.say(group, user, str(number), f"{group}-{number}")
    query = {"group_id": group, "limit": "2"}
    data = (await http.get("/api/messages", params=query, headers=bearer(user))).json()["data"]
    assert ([message["content"] for message in data["messages"]], data["has_more"]) == (["2", "1"], True)
    assert data["messages"][0]["sender"] == str(user)
    query["before_id"] = data["messages"][-1]["message_id"]
    data = (await http.get("/api/messages", params=query, headers=bearer(user))).json()["data"]
    assert ([message["content"] for message in data["messages"]], data["has_more"]) == (["0"], False)


async def test_a_caller_sees_only_its_own_unless_it_is_an_admin(http: httpx.AsyncClient, chat: Chat) -> None:
    owner, other = new_user(), new_user()
    group = await chat.group(owner)
    for path in (f"/api/users/{owner}/groups", f"/api/messages?group_id={group}"):
        assert (await http.get(path)).status_code == 401
        assert (await http.get(path, headers={"Authorization": "Bearer nonsense"})).status_code == 401
        refused = await http.get(path, headers=bearer(other))
        assert (refused.status_code, refused.json()["code"]) == (403, 403)
        assert (await http.get(path, headers=bearer(other, role="admin"))).status_code == 200


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/users/status", "user_id"),
        ("/api/users/status?user_id=0", "user_id"),
        ("/api/users/status?user_id=-1", "user_id"),
        ("/api/users/status?user_id=1.5", "user_id"),
        ("/api/users/status?user_id=４２", "user_id"),
        (f"/api/users/status?user_id={2**64}", "user_id"),
        ("/api/users/x/groups", "user_id"),
        ("/api/users/1/groups?page=0", "page"),
        ("/api/users/1/groups?page_size=101", "page_size"),
        ("/api/messages", "group_id"),
        ("/api/messages?group_id=a:b", "group_id"),
        ("/api/messages?group_id=g&limit=0", "limit"),
        ("/api/messages?group_id=g&limit=101", "limit"),
        (f"/api/messages?group_id=g&before_id={'x' * 65}", "before_id"),
    ],
)
async def test_a_bad_parameter_is_400_and_named(http: httpx.AsyncClient, path: str, field: str) -> None:
    answer = await http.get(path, headers=bearer(1))
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert answer.json()["message"].startswith(f"{field}:")


async def test_another_method_is_405(http: httpx.AsyncClient) -> None:
    assert (await http.post("/stats")).status_code == 405


async def test_status_asks_for_a_token_where_it_is_not_public(stack: Stack) -> None:
    private = stack.start_gateway(CHATWS_PUBLIC_STATUS="0")
    async with httpx.AsyncClient(base_url=private.http) as http:
        for path in ("/stats", "/ws/stats", "/api/users/status?user_id=1"):
            assert (await http.get(path)).status_code == 401
            assert (await http.get(path, headers=bearer(1))).status_code == 200
    private.kill()


async def test_pages_are_sent_with_a_strict_policy(http: httpx.AsyncClient) -> None:
    for path in ("/", "/admin/login/", "/health"):
        policy = (await http.get(path)).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


async def test_tokens_of_the_demo_s_users(http: httpx.AsyncClient) -> None:
    pair = (await http.post("/api/token/", json={"username": "alice", "password": "demo"})).json()
    assert (await http.post("/api/token/", json={"username": "alice", "password": "no"})).status_code == 401
    fresh = (await http.post("/api/token/refresh/", json={"refresh": pair["refresh"]})).json()["access"]
    answer = await http.get("/api/users/1/groups", headers={"Authorization": f"Bearer {fresh}"})
    assert answer.status_code == 200

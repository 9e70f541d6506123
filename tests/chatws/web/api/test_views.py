"""Check the HTTP API on a real gateway (docs/protocol.md, HTTP)."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.chat import Chat, new_user
from tests.support.client import bearer
from tests.support.plain_rpc import PlainService
from tests.support.stack import Stack
from tests.support.waiting import LIMIT


async def test_groups_of_a_user_are_listed(http: httpx.AsyncClient, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user, name="mine")
    answer = await http.get(f"/api/users/{user}/groups", headers=bearer(user))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["code"], body["message"], body["data"]["total"]) == (0, "success", 1)
    [found] = body["data"]["groups"]
    assert (found["group_id"], found["name"], found["role"]) == (group, "mine", "owner")


async def test_messages_of_a_group_are_listed(http: httpx.AsyncClient, chat: Chat) -> None:
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


async def test_only_admins_see_data_of_others(http: httpx.AsyncClient, chat: Chat) -> None:
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
        ("/api/users/4２/groups", "user_id"),
        ("/api/groups/a:b", "group_id"),
        (f"/api/groups/{'g' * 65}/members", "group_id"),
        ("/api/messages/offline", "user_id"),
        ("/api/messages/offline?user_id=1&after_time=-1", "after_time"),
        ("/api/notifications", "user_id"),
        ("/api/notifications?user_id=1&page=x", "page"),
        ("/api/groups/g/members?page_size=1.5", "page_size"),
        ("/api/messages?group_id=g&limit=x", "limit"),
        ("/api/notifications/unread-count?user_id=", "user_id"),
        ("/api/messages", "group_id"),
        ("/api/messages?group_id=a:b", "group_id"),
        (f"/api/messages?group_id=g&before_id={'x' * 65}", "before_id"),
    ],
)
async def test_bad_parameter_is_400_and_named(http: httpx.AsyncClient, path: str, field: str) -> None:
    answer = await http.get(path, headers=bearer(1))
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert answer.json()["message"].startswith(f"{field}:")


@pytest.mark.parametrize(
    ("given", "page", "page_size"),
    [
        ("", 1, 20), ("page=0&page_size=0", 1, 20), ("page=-3&page_size=-1", 1, 20), ("page=2&page_size=1000", 2, 100),
        (f"page={2**40}&page_size=1", 2**31 - 1, 1),
    ],
)  # fmt: skip
async def test_page_out_of_bounds_is_clamped(
    http: httpx.AsyncClient, chat: Chat, given: str, page: int, page_size: int
) -> None:
    user = new_user()
    group = await chat.group(user)
    for path in (f"groups/{group}/members?", f"users/{user}/groups?", f"notifications?user_id={user}&"):
        data = (await http.get(f"/api/{path}{given}", headers=bearer(user))).json()["data"]
        assert (data["page"], data["page_size"]) == (page, page_size)


async def test_limit_out_of_bounds_is_clamped(http: httpx.AsyncClient, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    for number in range(22):
        await chat.say(group, user, str(number))
    for limit, count in (("0", 20), ("-1", 20), ("1000", 22), ("", 20)):
        query = {"group_id": group, "limit": limit}
        data = (await http.get("/api/messages", params=query, headers=bearer(user))).json()["data"]
        assert len(data["messages"]) == count


async def test_path_may_end_with_a_slash(http: httpx.AsyncClient, chat: Chat) -> None:
    user = new_user()
    group = await chat.group(user)
    for path in (f"users/{user}/groups", f"groups/{group}", f"groups/{group}/members", "users/status"):
        query = {"user_id": user} if path == "users/status" else {}
        answers = [await http.get(f"/api/{path}{end}", params=query, headers=bearer(user)) for end in ("", "/")]
        assert answers[0].json() == answers[1].json()
        assert answers[1].status_code == 200


@pytest.mark.parametrize("path", ["/stats", "/api/messages", "/api/groups/~", "/api/notifications/read/"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_wrong_method_is_405_before_anything_else(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await http.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, 405)
    assert answer.headers["Allow"] == ("POST" if "read" in path else "GET, HEAD")


async def test_head_is_answered_as_get(http: httpx.AsyncClient) -> None:
    assert (await http.head("/stats")).status_code == 200


async def test_private_status_needs_a_token(stack: Stack) -> None:
    private = stack.start_gateway(CHATWS_PUBLIC_STATUS="0")
    async with httpx.AsyncClient(base_url=private.http, timeout=LIMIT) as http:
        for path in ("/stats", "/ws/stats", "/api/users/status?user_id=1"):
            assert (await http.get(path)).status_code == 401
            assert (await http.get(path, headers=bearer(1))).status_code == 200
    private.kill()


async def test_status_is_restricted_to_shared_groups(stack: Stack, chat: Chat) -> None:
    """Check that public status doesn't open it again, and that removed members see nothing."""
    one, friend, stranger = new_user(), new_user(), new_user()
    group = await chat.group(one, friend)
    await chat.group(stranger)
    gateway = stack.start_gateway(CHATWS_STATUS_FOR="shared_groups", CHATWS_PUBLIC_STATUS="1")
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:

        async def status(caller: int, of: int, role: str = "user") -> int:
            query = {"user_id": of}
            answer = await http.get("/api/users/status", params=query, headers=bearer(caller, role=role))
            return answer.status_code

        assert await status(one, friend) == 200
        assert await status(one, one) == 200
        assert await status(one, stranger) == 403
        assert await status(one, new_user()) == 403, "as for a user that exists"
        assert await status(stranger, one, role="admin") == 200
        assert (await http.get(f"/api/users/status?user_id={one}")).status_code == 401
        assert (await http.get("/api/users/status", headers=bearer(one))).status_code == 400
        await chat.remove(group, friend, one)
        assert await status(friend, one) == 403
    gateway.kill()


async def test_demo_users_get_tokens(http: httpx.AsyncClient) -> None:
    pair = (await http.post("/api/token/", json={"username": "alice", "password": "demo"})).json()
    assert (await http.post("/api/token/", json={"username": "alice", "password": "no"})).status_code == 401
    fresh = (await http.post("/api/token/refresh/", json={"refresh": pair["refresh"]})).json()["access"]
    answer = await http.get("/api/users/1/groups", headers={"Authorization": f"Bearer {fresh}"})
    assert answer.status_code == 200


BODIES = [
    ("read", {"user_id": 1}, "notification_ids"),
    ("read", {"user_id": 1, "notification_ids": []}, "notification_ids"),
    ("read", {"user_id": 1, "notification_ids": "n"}, "notification_ids"),
    ("read", {"user_id": 1, "notification_ids": ["n" * 65]}, "notification_ids"),
    ("read", {"user_id": 1, "notification_ids": ["n"] * 101}, "notification_ids"),
    ("read", {"user_id": True, "notification_ids": ["n"]}, "user_id"),
    ("read-all", {"user_id": 1.5}, "user_id"),
    ("read-all", {}, "user_id"),
    ("read-all", [], "user_id"),
]


@pytest.mark.parametrize(("path", "body", "field"), BODIES)
async def test_bad_body_field_is_400_and_named(http: httpx.AsyncClient, path: str, body: object, field: str) -> None:
    answer = await http.post(f"/api/notifications/{path}", json=body, headers=bearer(1))
    assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (400, 400, None)
    assert answer.json()["message"].startswith(field)


async def test_body_that_is_not_json_is_rejected(http: httpx.AsyncClient) -> None:
    broken = await http.post(
        "/api/notifications/read", content="{", headers={**bearer(1), "Content-Type": "application/json"}
    )
    assert (broken.status_code, broken.json()["code"]) == (400, 400)
    form = await http.post("/api/notifications/read", data={"user_id": "1"}, headers=bearer(1))
    assert (form.status_code, form.json()["code"]) == (415, 415)


async def test_notifications_are_listed_and_marked(http: httpx.AsyncClient, chat: Chat) -> None:
    user = new_user()
    ids = [await chat.notify(user, f"title {number}") for number in range(3)]
    given: dict[str, Any] = {"params": {"user_id": user, "page_size": 2}, "headers": bearer(user)}
    data = (await http.get("/api/notifications", **given)).json()["data"]
    assert ([one["title"] for one in data["notifications"]], data["total"]) == (["title 2", "title 1"], 3)
    marked = {"user_id": str(user), "notification_ids": [ids[0], "nosuchnotification"]}
    answer = await http.post("/api/notifications/read", json=marked, headers=bearer(user))
    assert answer.json() == {"code": 0, "message": "success", "data": {"success": True, "updated_count": 1}}
    count = await http.get("/api/notifications/unread-count", **given)
    assert count.json()["data"] == {"count": 2}
    answer = await http.post("/api/notifications/read-all", json={"user_id": user}, headers=bearer(user))
    assert answer.json()["data"] == {"success": True, "updated_count": 2}


async def test_read_states_come_with_groups_and_members(http: httpx.AsyncClient, chat: Chat) -> None:
    user, other = new_user(), new_user()
    group = await chat.group(user, other)
    ids = [f"{group}-{number}" for number in range(3)]
    for message_id in ids:
        await chat.say(group, other, "hello", message_id)
    await chat.mark_read(user, group, ids[0])
    [found] = (await http.get(f"/api/users/{user}/groups", headers=bearer(user))).json()["data"]["groups"]
    assert (found["read_id"], found["unread_count"]) == (ids[0], 2)
    data = (await http.get(f"/api/groups/{group}/members", headers=bearer(user))).json()["data"]
    assert {member["user_id"]: member["read_id"] for member in data["members"]} == {user: ids[0], other: ""}
    assert data["total"] == 2


async def test_listing_without_cursors_keeps_other_fields(stack: Stack, chat: Chat) -> None:
    service, user = PlainService(stack.rpc_target), new_user()
    group = await chat.group(user)
    gateway = await asyncio.to_thread(stack.start_gateway, CHATWS_RPC_TARGET=await service.start())
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(user), timeout=LIMIT) as http:
        [found] = (await http.get(f"/api/users/{user}/groups")).json()["data"]["groups"]
        [member] = (await http.get(f"/api/groups/{group}/members")).json()["data"]["members"]
    assert found["group_id"] == group
    assert member["user_id"] == user
    assert {"read_id", "unread_count"}.isdisjoint(found.keys() | member.keys())
    gateway.kill()
    await service.stop()


PER_USER = [
    "users/{user}/groups", "messages/offline?user_id={user}", "notifications?user_id={user}",
    "notifications/unread-count?user_id={user}",
]  # fmt: skip
PER_GROUP = ["groups/{group}", "groups/{group}/members", "messages?group_id={group}"]


@pytest.mark.parametrize("path", PER_USER + PER_GROUP)
async def test_each_path_serves_its_user_and_admins(http: httpx.AsyncClient, chat: Chat, path: str) -> None:
    owner, other = new_user(), new_user()
    path = "/api/" + path.format(user=owner, group=await chat.group(owner))
    missing = await http.get(path)
    assert (missing.status_code, missing.json()["code"], missing.headers["WWW-Authenticate"]) == (401, 401, "Bearer")
    assert (await http.get(path, headers=bearer(other))).status_code == 403
    for caller in (bearer(owner), bearer(other, role="admin")):
        answer = await http.get(path, headers=caller)
        assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (200, 0, "success")


@pytest.mark.parametrize("path", ["read", "read-all"])
async def test_user_cannot_mark_notifications_of_others(http: httpx.AsyncClient, chat: Chat, path: str) -> None:
    owner = new_user()
    body = {"user_id": owner, "notification_ids": [await chat.notify(owner, "a title")]}
    assert (await http.post(f"/api/notifications/{path}", json=body, headers=bearer(new_user()))).status_code == 403
    given: dict[str, Any] = {"params": {"user_id": owner}, "headers": bearer(owner)}
    assert (await http.get("/api/notifications/unread-count", **given)).json()["data"]["count"] == 1


async def test_unknown_path_and_group_share_one_404_form(http: httpx.AsyncClient) -> None:
    for path in ("/api/nosuchpath", "/api/groups/nosuchgroup"):
        answer = await http.get(path, headers=bearer(1, role="admin"))
        assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (404, 404, None)
    assert (await http.get("/api/groups/nosuchgroup", headers=bearer(1))).status_code == 403

"""Check how a socket authenticates on a real gateway (docs/protocol.md, Authentication)."""

import asyncio
import time
from typing import Any

import pytest
import websockets

from realtime.auth.tokens import LATEST
from realtime.connection.handshake import origin_allowed
from tests.conftest import Connect
from tests.support.chat import Chat, new_user
from tests.support.client import bearer, connect, make_token
from tests.support.stack import Gateway, Stack

SHORT = 8
"""Lifetime in seconds of a token whose expiry a test awaits: long enough to authenticate on any machine."""
LONG = 86_400
"""Lifetime in seconds of tokens that are made during the collection of tests."""


async def test_token_in_the_first_frame_authenticates(sockets: Connect) -> None:
    user = new_user()
    client = await sockets()
    answer = await client.ask("auth", {"token": make_token(user, 600)})
    assert answer["type"] == "auth_success"
    assert answer["data"]["user_id"] == str(user)
    assert answer["data"]["groups"] == []
    [feed] = answer["data"]["feeds"]
    assert feed["feed"] == f"user:{user}"
    assert feed["epoch"]
    assert "recovered" not in feed


async def test_token_in_the_header_authenticates(sockets: Connect) -> None:
    user = new_user()
    client = await sockets(additional_headers={"Authorization": f"Bearer {make_token(user)}"})
    first = await client.recv()
    assert (first["type"], first["data"]["user_id"]) == ("auth_success", str(user))


async def test_token_in_the_subprotocol_authenticates(sockets: Connect) -> None:
    user = new_user()
    client = await sockets(subprotocols=["bearer", make_token(user)])
    assert client.socket.subprotocol == "bearer"
    assert (await client.recv())["data"]["user_id"] == str(user)


async def test_token_in_the_query_authenticates_without_a_log(sockets: Connect, gateway: Gateway) -> None:
    user = new_user()
    token = make_token(user)
    client = await sockets(f"{gateway.ws}?token={token}")
    assert (await client.recv())["data"]["user_id"] == str(user)
    assert token not in gateway.log.read_text()


async def test_user_receives_groups_of_every_page(sockets: Connect, chat: Chat) -> None:
    user = new_user()
    groups = {await chat.group(user) for _ in range(130)}
    answer = await (await sockets()).ask("auth", {"token": make_token(user)})
    assert set(answer["data"]["groups"]) == groups
    feeds = [feed["feed"] for feed in answer["data"]["feeds"]]
    assert feeds[0] == f"user:{user}"
    assert set(feeds[1:]) == {f"group:{group}" for group in groups}


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("garbage", "invalid"),
        ("", "missing"),
        (make_token(1, -60), "expired"),
        (make_token(1, LONG, token_type="refresh"), "invalid"),
        (make_token(0, LONG), "invalid"),
        (make_token(1, exp=10**30), "invalid"),
    ],
    ids=["garbage", "missing", "expired", "refresh", "user-0", "far-future"],  # each process would make another token
)
async def test_bad_token_gets_reason_and_closes_with_4401(sockets: Connect, token: str, reason: str) -> None:
    client = await sockets()
    answer = await client.ask("auth", {"token": token})
    assert (answer["type"], answer["data"]["reason"]) == ("auth_failed", reason)
    assert await client.closed() == 4401


async def test_bad_handshake_token_gets_reason_and_closes(sockets: Connect, gateway: Gateway) -> None:
    for options in ({"additional_headers": {"Authorization": "Bearer nonsense"}}, {"subprotocols": ["bearer", "x"]}):
        client = await sockets(**options)
        assert (await client.recv())["data"]["reason"] == "invalid"
        assert await client.closed() == 4401


EMPTY: list[tuple[str, dict[str, Any]]] = [
    ("?token=", {}),
    ("?token", {}),
    ("?token=%20", {}),
    ("?token=&token=", {}),
    ("", {"additional_headers": {"Authorization": "Bearer"}}),
    ("", {"additional_headers": {"Authorization": "Bearer "}}),
    ("", {"additional_headers": {"Authorization": "bearer    "}}),
    ("", {"subprotocols": ["bearer"]}),
    ("?token=", {"additional_headers": {"Authorization": "Bearer "}, "subprotocols": ["bearer"]}),
]


@pytest.mark.parametrize(("query", "options"), EMPTY)
async def test_empty_handshake_token_waits_for_auth(
    sockets: Connect, gateway: Gateway, query: str, options: dict[str, Any]
) -> None:
    client = await sockets(f"{gateway.ws}{query}", **options)
    assert (await client.ask("ping"))["type"] == "pong"
    assert (await client.ask("auth", {"token": make_token(new_user())}))["type"] == "auth_success"


async def test_empty_token_does_not_hide_the_next_one(sockets: Connect, gateway: Gateway) -> None:
    user = new_user()
    token = make_token(user)
    for query, options in (
        (f"?token={token}", {"additional_headers": {"Authorization": "Bearer "}}),
        ("?token=", {"subprotocols": ["bearer", token], "additional_headers": {"Authorization": "Bearer"}}),
        (f"?token=&token={token}", {}),
    ):
        client = await sockets(f"{gateway.ws}{query}", **options)
        assert (await client.recv())["data"]["user_id"] == str(user)


async def test_unauthenticated_socket_closes_with_4401(stack: Stack, sockets: Connect) -> None:
    client = await sockets(stack.start_gateway(CHATWS_AUTH_TIMEOUT="1").ws)
    assert (await client.recv())["data"]["reason"] == "timeout"
    assert await client.closed() == 4401


async def test_only_ping_is_served_before_authentication(sockets: Connect) -> None:
    client = await sockets()
    assert (await client.ask("ping"))["type"] == "pong"
    answer = await client.ask("leave_group", {"group_id": "g"})
    assert (answer["type"], answer["data"]["code"]) == ("error", 401)


async def test_expired_token_closes_with_4401(stack: Stack, sockets: Connect) -> None:
    client = await sockets(stack.start_gateway(CHATWS_JWT_LEEWAY="0").ws)
    await client.ask("auth", {"token": make_token(new_user(), SHORT)})
    last = await client.expect("error")
    assert (last["data"]["code"], last["data"]["reason"]) == (401, "token_expired")
    assert await client.closed() == 4401


async def test_token_accepted_by_the_leeway_keeps_its_connection(stack: Stack, sockets: Connect) -> None:
    """A token that another clock calls expired is accepted; its connection must not be closed for that."""
    gateway = stack.start_gateway(CHATWS_JWT_LEEWAY="600")
    client = await sockets(gateway.ws)
    assert (await client.ask("auth", {"token": make_token(new_user(), -5)}))["type"] == "auth_success"
    for _ in range(3):
        assert (await client.ask("ping"))["type"] == "pong"
    ahead = make_token(new_user(), iat=int(time.time()) + 5, sub=7, jti=7)
    assert (await (await sockets(gateway.ws)).ask("auth", {"token": ahead}))["type"] == "auth_success"


async def test_token_of_billions_of_years_is_served(sockets: Connect) -> None:
    client = await sockets()
    answer = await client.ask("auth", {"token": make_token(new_user(), exp=2**63 - 1)})
    assert (answer["type"], answer["data"]["expires_at"]) == ("auth_success", LATEST)
    assert (await client.ask("ping"))["type"] == "pong"


async def test_fresh_token_moves_the_expiry(sockets: Connect) -> None:
    user = new_user()
    client = await sockets()
    first = await client.ask("auth", {"token": make_token(user, SHORT)})
    answer = await client.ask("auth", {"token": make_token(user, 600)})
    assert answer["type"] == "auth_success"
    assert "feeds" not in answer["data"]
    assert answer["data"]["expires_at"] > first["data"]["expires_at"]
    assert first["data"]["expires_at"] - time.time() <= SHORT
    while time.time() < first["data"]["expires_at"] + 0.5:
        assert (await client.ask("ping"))["type"] == "pong"
        await asyncio.sleep(0.1)


async def test_bad_later_auth_leaves_the_connection_unchanged(sockets: Connect) -> None:
    user = new_user()
    client = await sockets()
    await client.ask("auth", {"token": make_token(user)})
    assert (await client.ask("auth", {"token": "bad"}))["type"] == "auth_failed"
    other = await client.ask("auth", {"token": make_token(new_user())})
    assert (other["type"], other["data"]["code"]) == ("error", 403)
    again = await client.ask("auth", {"token": make_token(user), "resume": {}})
    assert (again["type"], again["data"]["code"]) == ("error", 400)
    assert (await client.ask("ping"))["type"] == "pong"


async def test_foreign_origin_gets_reason_and_closes_with_4403(sockets: Connect) -> None:
    client = await sockets(origin="https://evil.example")
    first = await client.recv()
    assert (first["type"], first["data"]["code"], first["data"]["reason"]) == ("error", 403, "origin")
    assert await client.closed() == 4403


async def test_only_listed_origins_may_open_a_socket(stack: Stack) -> None:
    gateway = stack.start_gateway(CHATWS_ALLOWED_ORIGINS="https://App.example:443/,https://*.Example.com/")
    for origin, kind in (
        ("https://app.example", "auth_success"), ("https://app.example:444", "error"), ("http://app.example", "error"),
        ("https://www.example.com", "auth_success"), ("https://example.com", "error"), ("null", "error"),
    ):  # fmt: skip
        client = await connect(gateway.ws, origin=origin, additional_headers=bearer(new_user()))
        assert (await client.recv())["type"] == kind
        await client.close()


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://localhost:8889", "localhost:8889", True),
        ("http://LOCALHOST:8889", "localhost:8889", True),
        ("http://localhost:8890", "localhost:8889", False),
        ("http://rebound.example:8889", "rebound.example:8889", False),
        ("https://localhost", "localhost:443", True),
        ("http://localhost", "localhost:443", False),
        ("null", "localhost:8889", False),
        ("http://[", "[", False),
    ],
)
def test_own_origin_is_a_requested_and_served_host(origin: str, host: str, allowed: bool) -> None:
    assert origin_allowed(origin, host, ()) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com", True),
        ("https://A.EXAMPLE.com:443", True),
        ("https://a.b.example.com", False),
        ("https://example.com", False),
        ("https://aexample.com", False),
        ("https://a.example.com.evil.example", False),
        ("https://a.example.com:8443", False),
        ("http://a.example.com", False),
        ("https://u@a.example.com", False),
        ("https://*.example.com", False),
        ("https://xn--bcher-kva.example", True),
        ("https://b\xfccher.example", False),  # no browser sends this
        ("null", False),
        ("https://[", False),
    ],
)
def test_wildcard_stands_for_one_label(origin: str, allowed: bool) -> None:
    listed = ("https://*.example.com", "https://xn--bcher-kva.example")
    assert origin_allowed(origin, "localhost:8889", listed) is allowed


async def test_unknown_path_opens_no_socket_and_is_logged(stack: Stack) -> None:
    gateway = stack.start_gateway()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"{gateway.ws}/elsewhere", additional_headers=bearer(new_user()))
    assert refused.value.response.status_code == 403
    log = gateway.log.read_text()
    assert "Traceback" not in log
    assert "a WebSocket was requested at '/ws/elsewhere', but the socket is at /ws" in log
    gateway.kill()


async def test_slash_behind_the_path_changes_nothing(gateway: Gateway) -> None:
    client = await connect(f"{gateway.ws}/", additional_headers=bearer(new_user()))
    assert (await client.recv())["type"] == "auth_success"
    await client.close()


async def test_own_origin_may_open_a_socket(sockets: Connect, gateway: Gateway) -> None:
    client = await sockets(origin=gateway.http)
    assert (await client.ask("ping"))["type"] == "pong"

"""Check that revoked tokens are rejected, and that their sockets close on every gateway."""

import asyncio
import time
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import jwt
import pytest
from django.conf import settings
from redis import Redis

from realtime.auth.revocation_rows import FOREVER
from realtime.auth.revocations import EXPIRED_SECONDS
from realtime.redis import keys
from tests.conftest import Connect
from tests.support.chat import new_user
from tests.support.client import Client, connect, make_token
from tests.support.database import ON_POSTGRES
from tests.support.redis import connect as connect_redis
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT, until, until_answer

pytestmark = pytest.mark.database

END_DATABASE_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def with_token(gateway: Gateway, token: str) -> Client:
    return await connect(gateway.ws, additional_headers={"Authorization": f"Bearer {token}"})


async def welcomed(gateway: Gateway, token: str) -> Client:
    client = await with_token(gateway, token)
    await client.expect("auth_success")
    return client


async def refused(gateway: Gateway, token: str) -> None:
    client = await with_token(gateway, token)
    assert (await client.expect("auth_failed"))["data"]["reason"] == "revoked"
    assert await client.closed() == 4401


async def closed_as_revoked(client: Client) -> None:
    assert (await client.expect("auth_failed"))["data"]["reason"] == "revoked"
    assert await client.closed() == 4401


async def revoke(stack: Stack, *arguments: str, **env: str) -> None:
    await asyncio.to_thread(stack.manage, "revoke", *arguments, **env)


async def next_second() -> None:
    """Wait for the next second: tokens have whole seconds, and only one issued after the revocation is valid."""
    now = int(time.time())
    await until(lambda: int(time.time()) > now)


async def test_revoked_user_is_closed_everywhere_until_a_fresh_token(
    stack: Stack, gateway: Gateway, log_in: Connect
) -> None:
    there = stack.start_gateway()
    user, other = new_user(), new_user()
    old = make_token(user)
    devices = [await welcomed(gateway, old), await welcomed(there, old)]
    unharmed = await log_in(other)
    await revoke(stack, "--user", str(user))
    await asyncio.gather(*(closed_as_revoked(device) for device in devices))
    await refused(gateway, old)
    await refused(there, old)
    assert (await unharmed.ask("ping"))["type"] == "pong"
    await next_second()
    client = await welcomed(there, make_token(user))
    again = await client.ask("auth", {"token": old})
    assert (again["type"], again["data"]["reason"]) == ("auth_failed", "revoked")
    await client.close()


async def test_one_token_is_revoked_by_its_id(stack: Stack, gateway: Gateway) -> None:
    user = new_user()
    stolen, own = make_token(user, jti=f"stolen-{user}"), make_token(user, jti=f"own-{user}")
    thief, owner = await welcomed(gateway, stolen), await welcomed(gateway, own)
    await revoke(stack, "--jti", f"stolen-{user}", LOGNAME="on-call")
    await closed_as_revoked(thief)
    kept = stack.query("SELECT revoked_by FROM realtime_revocation WHERE whose = %s", f"jti:stolen-{user}")
    assert kept == [("on-call",)]
    assert (await owner.ask("ping"))["type"] == "pong"
    await owner.close()
    await refused(gateway, stolen)


async def test_tokens_issued_before_a_time_or_undated_are_revoked(stack: Stack, gateway: Gateway) -> None:
    user = new_user()
    now = int(time.time())
    before, undated, after = (make_token(user, iat=iat) for iat in (now - 100, 0, now - 10))
    await revoke(stack, "--user", str(user), "--issued-until", str(now - 50))
    await refused(gateway, before)
    await refused(gateway, undated)
    await (await welcomed(gateway, after)).close()


async def test_revoked_token_is_rejected_over_http(stack: Stack, gateway: Gateway) -> None:
    user = new_user()
    token = make_token(user)
    await revoke(stack, "--user", str(user))
    await refused(gateway, token)

    def ask() -> int:
        request = urllib.request.Request(
            f"{gateway.http}/api/users/{user}/groups", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert await asyncio.to_thread(ask) == 401


async def test_revocation_of_everybody_survives_redis_loss(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    stack = Stack(tmp_path_factory.mktemp("revoked"))
    gateway = stack.start()
    try:
        token = make_token(new_user())
        client = await welcomed(gateway, token)
        await revoke(stack, "--everybody")
        await closed_as_revoked(client)
        redis = Redis.from_url(stack.redis.url)
        redis.flushall()
        redis.close()
        await refused(stack.start_gateway(), token)
    finally:
        stack.stop()


async def test_redis_that_went_back_in_time_takes_no_revocation_back(stack: Stack, gateway: Gateway) -> None:
    user = new_user()
    token = make_token(user)
    await (await welcomed(gateway, token)).close()
    async with connect_redis(stack.redis.url) as redis:
        await until_answer(lambda: redis.exists(keys.revoked_version()), what="Redis has a copy")
        version, copy = await redis.get(keys.revoked_version()), await redis.hgetall(keys.revoked())
        await revoke(stack, "--user", str(user))
        await refused(gateway, token)
        for _ in range(2):  # with a gateway that knows the revocation, then with a new one
            async with redis.pipeline() as restored:
                restored.delete(keys.revoked()).set(keys.revoked_version(), version)
                if copy:
                    restored.hset(keys.revoked(), mapping=copy)
                await restored.execute()
            await refused(gateway, token)
            await until_answer(
                lambda: redis.hexists(keys.revoked(), f"user:{user}"), what="Redis has the revocation again"
            )
            await refused(gateway, token)
            gateway = await asyncio.to_thread(stack.start_gateway)
            await refused(gateway, token)


async def test_new_gateway_beside_an_old_copy_refuses_at_once(tmp_path: Path) -> None:
    """Start a gateway alone with a Redis that went back in time: no other gateway has mended it."""
    stack = Stack(tmp_path)
    try:
        gateway = stack.start()
        token = make_token(new_user())
        await (await welcomed(gateway, token)).close()
        async with connect_redis(stack.redis.url) as redis:
            version = await redis.get(keys.revoked_version())
            await asyncio.to_thread(gateway.stop, seconds=LIMIT)
            await revoke(stack, "--everybody")
            await redis.delete(keys.revoked())
            await redis.set(keys.revoked_version(), version)
        await refused(await asyncio.to_thread(stack.start_gateway), token)
    finally:
        stack.stop()


@pytest.mark.database
async def test_lost_database_connections_are_replaced(tmp_path: Path) -> None:
    stack = Stack(tmp_path)

    def end_connections() -> None:
        if ON_POSTGRES:  # SQLite has no connection that could be lost
            stack.query(END_DATABASE_CONNECTIONS)

    try:
        gateway = stack.start()
        token = make_token(new_user())
        async with connect_redis(stack.redis.url) as redis:
            for _ in range(3):
                end_connections()
                await redis.delete(keys.revoked_version())
                await until_answer(lambda: redis.exists(keys.revoked_version()), what="Redis has a copy again")
            end_connections()
            await revoke(stack, "--everybody")
        await refused(gateway, token)
    finally:
        stack.stop()


async def test_gateways_learn_from_the_database_while_redis_is_unavailable(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        client = await welcomed(stack.start(), make_token(new_user()))
        await asyncio.to_thread(stack.redis.kill)
        with pytest.raises(AssertionError, match="gateways read it from the database within seconds"):
            await revoke(stack, "--everybody")
        await closed_as_revoked(client)
    finally:
        stack.stop()


async def test_revocations_are_kept_as_long_as_their_tokens(stack: Stack) -> None:
    user, expires_at = new_user(), int(time.time()) + 1_000 * 86_400
    await revoke(stack, "--user", str(user))
    await revoke(stack, "--jti", f"unknown-{user}")
    await revoke(stack, "--jti", f"known-{user}", "--expires-at", str(expires_at))
    await revoke(stack, "--jti", f"gone-{user}", "--expires-at", "1")
    await revoke(stack, "--user", str(new_user()))
    kept = dict(stack.query("SELECT whose, kept_until FROM realtime_revocation WHERE whose LIKE %s", f"%{user}"))
    assert kept == {
        f"user:{user}": FOREVER, f"jti:unknown-{user}": FOREVER, f"jti:known-{user}": expires_at + EXPIRED_SECONDS,
    }  # fmt: skip


async def test_concurrent_revocations_all_count(stack: Stack, gateway: Gateway) -> None:
    tokens = {user: make_token(user) for user in (new_user() for _ in range(6))}
    [(before,)] = stack.query("SELECT number FROM realtime_revocationnumber")
    await asyncio.gather(*(revoke(stack, "--user", str(user)) for user in tokens))
    for token in tokens.values():
        await refused(gateway, token)
    [(number,)] = stack.query("SELECT number FROM realtime_revocationnumber")
    assert number == before + len(tokens)
    async with connect_redis(stack.redis.url) as redis:
        version = await until_answer(
            lambda: redis.get(keys.revoked_version()),
            lambda version: (version or b"").startswith(b"%d:" % number),
            "a complete copy",
        )
        assert version
        copied = await redis.hkeys(keys.revoked())
    assert {f"user:{user}".encode() for user in tokens} <= set(copied)


async def test_numeric_token_id_is_revoked_by_its_decimal_text(stack: Stack, gateway: Gateway) -> None:
    user = new_user()
    token = make_token(user, jti=user, sub=user)
    client = await welcomed(gateway, token)
    await revoke(stack, "--jti", str(user))
    await closed_as_revoked(client)
    await refused(gateway, token)


async def test_connection_of_an_issuer_ahead_of_us_is_closed(stack: Stack, gateway: Gateway) -> None:
    user = new_user()
    client = await welcomed(gateway, make_token(user, iat=int(time.time()) + 9))
    await revoke(stack, "--user", str(user))
    await closed_as_revoked(client)


@pytest.mark.reference_only
@pytest.mark.parametrize("whose", ["user", "jti"])
async def test_revoked_refresh_token_mints_no_token(stack: Stack, gateway: Gateway, whose: str) -> None:
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
        pair = (await http.post("/api/token/", json={"username": "alice", "password": "demo"})).json()
        claims = jwt.decode(pair["refresh"], options={"verify_signature": False})
        await revoke(stack, *(["--user", str(claims["userId"])] if whose == "user" else ["--jti", claims["jti"]]))
        if whose == "user":
            await refused(gateway, pair["access"])  # the gateway knows
        answer = await until_answer(
            lambda: http.post("/api/token/refresh/", json={"refresh": pair["refresh"]}),
            lambda answer: answer.status_code != 200, "no new token",
        )  # fmt: skip
        assert (answer.status_code, answer.json()["message"]) == (401, "the token has been revoked")
        await next_second()
        again = (await http.post("/api/token/", json={"username": "alice", "password": "demo"})).json()
        answer = await http.post("/api/token/refresh/", json={"refresh": again["refresh"]})
        await (await welcomed(gateway, answer.json()["access"])).close()


@pytest.mark.reference_only
async def test_refresh_token_of_a_deleted_user_mints_no_token(stack: Stack, gateway: Gateway) -> None:
    claims = {
        "user_id": str(2**40),
        "userId": 2**40,
        "token_type": "refresh",
        "jti": "x",
        "exp": int(time.time()) + 600,
    }
    token = jwt.encode(claims, settings.REALTIME.jwt_secret, "HS256")
    async with httpx.AsyncClient(base_url=gateway.http, timeout=LIMIT) as http:
        answer = await http.post("/api/token/refresh/", json={"refresh": token})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--user", "0"], "--user"),
        (["--jti", ""], "--jti"),
        (["--user", "1", "--issued-until", "99999999999"], "--issued-until"),
        (["--user", "1", "--expires-at", "99999999999"], "--expires-at"),
        (["--jti", "x", "--expires-at", "0"], "--expires-at"),
    ],
)
def test_invalid_revocation_error_names_the_argument(stack: Stack, arguments: list[str], named: str) -> None:
    with pytest.raises(AssertionError, match=f"CommandError: {named}"):
        stack.manage("revoke", *arguments)

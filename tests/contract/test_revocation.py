"""Check that revoked tokens are rejected, and that their sockets close on every gateway."""

import asyncio
import time
import urllib.error
import urllib.request

import pytest
from redis import Redis

from tests.conftest import Connect
from tests.support.chat import new_user
from tests.support.client import Client, connect, make_token
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT, until

pytestmark = pytest.mark.database


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


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--user", "0"], "--user"),
        (["--jti", ""], "--jti"),
        (["--user", "1", "--issued-until", "99999999999"], "--issued-until"),
    ],
)
def test_invalid_revocation_error_names_the_argument(stack: Stack, arguments: list[str], named: str) -> None:
    with pytest.raises(AssertionError, match=f"CommandError: {named}"):
        stack.manage("revoke", *arguments)

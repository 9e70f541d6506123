"""Check tokens at a gateway: key sets at a URL, and tokens in the query."""

import asyncio
import time

import httpx
import jwt
import pytest

from tests.contract.test_revocation import welcomed, with_token
from tests.support.chat import new_user
from tests.support.client import connect, make_token
from tests.support.key_set import KeySet, jwk, new_key
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT


def signed(key: object, algorithm: str, kid: str, user: int) -> str:
    claims = {"userId": user, "exp": int(time.time()) + 600}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid})  # type: ignore[arg-type]  # one of three kinds


async def test_key_set_tokens_work_while_its_address_is_unavailable(stack: Stack) -> None:
    key = new_key("ES256")
    with KeySet(jwk(key, "ES256", kid="one")) as endpoint:
        gateway = stack.start_gateway(CHATWS_JWT_JWKS_URL=endpoint.url)
        await (await welcomed(gateway, signed(key, "ES256", "one", new_user()))).close()
        endpoint.close()
        await (await welcomed(gateway, signed(key, "ES256", "one", new_user()))).close()
        client = await with_token(gateway, signed(new_key("ES256"), "ES256", "one", new_user()))
        assert (await client.expect("auth_failed"))["data"]["reason"] == "invalid"
        assert await client.closed() == 4401


async def test_unfetched_key_set_is_no_token_error(stack: Stack) -> None:
    endpoint = KeySet()
    endpoint.close()
    gateway = stack.start_gateway(probe="health", CHATWS_JWT_JWKS_URL=endpoint.url)
    token = signed(new_key("EdDSA"), "EdDSA", "one", new_user())
    at_once = await with_token(gateway, token)
    by_frame = await connect(gateway.ws)
    await by_frame.send("auth", {"token": token})
    for client in (at_once, by_frame):
        refused = await client.expect("error")
        assert (refused["data"]["code"], refused["data"]["retry_after"] > 0) == (503, True)
        assert await client.closed() == 4501
    await (await welcomed(gateway, make_token(new_user()))).close()


async def test_query_token_can_be_disabled_and_is_not_logged(stack: Stack) -> None:
    on, off = stack.start_gateway(), stack.start_gateway(CHATWS_QUERY_TOKEN="0", CHATWS_AUTH_TIMEOUT="1")
    token = make_token(new_user())
    client = await connect(f"{on.ws}?token={token}")
    await client.expect("auth_success")
    await client.close()
    client = await connect(f"{off.ws}?token={token}")
    assert (await client.expect("auth_failed"))["data"]["reason"] == "timeout"
    assert await client.closed() == 4401
    for gateway in (on, off):
        await asyncio.to_thread(gateway.stop, seconds=LIMIT)
        log = gateway.log.read_text()
        assert token not in log
        assert token.rpartition(".")[2] not in log


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHATWS_JWT_JWKS_URL", "http://keys.example/jwks.json"),
        ("CHATWS_JWT_JWKS_URL", "keys.example"),
        ("CHATWS_JWT_PUBLIC_KEYS", "/nowhere.pem"),
        ("CHATWS_JWT_PUBLIC_KEYS", __file__),
        ("CHATWS_JWT_LEEWAY", "-1"),
    ],
)
def test_invalid_setting_is_named(stack: Stack, name: str, value: str) -> None:
    with pytest.raises(AssertionError, match=f"{name}: "):
        stack.manage("check", **{name: value})


async def test_secret_is_replaced_in_the_documented_order(stack: Stack) -> None:
    """Run the gateways of two neighbouring steps side by side (docs/operations.md, "Changing a secret")."""
    old, new = "an old secret of tokens, of 32 bytes", "a new secret of tokens, of 32 bytes"
    steps = [(old, ""), (old, new), (new, old), (new, "")]
    gateways = [
        stack.start_gateway(CHATWS_JWT_SECRET=secret, CHATWS_JWT_PREVIOUS_SECRET=previous) for secret, previous in steps
    ]
    valid = [(0, 1, [old]), (1, 2, [old, new]), (2, 3, [new])]
    for *both, secrets in valid:
        for gateway in (gateways[number] for number in both):
            for secret in secrets:
                await (await welcomed(gateway, signed(secret, "HS256", "", new_user()))).close()
    issued = [await asyncio.to_thread(demo_token, gateway) for gateway in gateways]
    for one, other in ((0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)):
        await (await welcomed(gateways[other], issued[one])).close()
    too_early = await with_token(gateways[0], signed(new, "HS256", "", new_user()))
    assert (await too_early.expect("auth_failed"))["data"]["reason"] == "invalid"
    await too_early.close()
    for gateway in gateways:
        gateway.kill()


def demo_token(gateway: Gateway) -> str:
    """Return a token that this gateway signs."""
    answer = httpx.post(f"{gateway.http}/api/token/", json={"username": "alice", "password": "demo"}, timeout=LIMIT)
    return str(answer.raise_for_status().json()["access"])

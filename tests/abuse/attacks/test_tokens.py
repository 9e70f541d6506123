"""Attack with tokens that the attacker made, in every form."""

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import websockets
from django.conf import settings

from tests.abuse.beside import unharmed
from tests.contract.test_revocation import with_token
from tests.support.chat import new_user
from tests.support.client import Client, connect, make_token
from tests.support.key_set import KeySet, PrivateKey, jwk, new_key
from tests.support.stack import Gateway, Stack

pytestmark = pytest.mark.ours_only


CLAIMS = {"userId": 1, "exp": int(time.time()) + 86_400}
SECRET, NOT_OURS = settings.REALTIME.jwt_secret, "a-secret-of-who-attacks-" * 2


def token_of(key: Any, algorithm: str, claims: dict[str, Any] = CLAIMS, **header: Any) -> str:
    return jwt.encode(claims, key, algorithm, headers=header)


def changed(token: str) -> str:
    """Return the token with other claims under the same signature."""
    head, _, signature = token.split(".")
    return ".".join([head, token_of(NOT_OURS, "HS256").split(".")[1], signature])


BAD_TOKENS: dict[str, Callable[[PrivateKey, str], str]] = {
    "none": lambda key, url: token_of(None, "none"),
    "another secret": lambda key, url: token_of(NOT_OURS, "HS256"),
    "kid": lambda key, url: token_of(key, "RS256", kid=url),
    "jku": lambda key, url: token_of(key, "RS256", kid="theirs", jku=url),
    "jwk": lambda key, url: token_of(key, "RS256", jwk=jwk(key, "RS256")),
    "changed": lambda key, url: changed(make_token(new_user())),
    "60 KB": lambda key, url: token_of(NOT_OURS, "HS256", {**CLAIMS, "name": "x" * 45_000}),
    "no user": lambda key, url: token_of(SECRET, "HS256", {"exp": CLAIMS["exp"]}),
    "negative user": lambda key, url: token_of(SECRET, "HS256", {**CLAIMS, "userId": -1}),
    "bool for a user": lambda key, url: token_of(SECRET, "HS256", {**CLAIMS, "userId": True}),
}
"""Tokens that an attacker with an own key can make, also with a key set at an address."""


async def shown(gateway: Gateway, way: str, token: str) -> Client:
    """Open a socket with the token given in this way."""
    if way == "header":
        return await with_token(gateway, token)
    if way == "query":
        return await connect(f"{gateway.ws}?token={token}")
    client = await connect(gateway.ws)
    await client.send("auth", {"token": token})
    return client


@pytest.mark.parametrize("what", BAD_TOKENS)
async def test_foreign_token_is_rejected_in_every_form(what: str, attacked: tuple[Stack, Gateway]) -> None:
    _, gateway = attacked
    key = new_key("RS256")
    with KeySet(jwk(key, "RS256", kid="theirs")) as theirs:
        token = BAD_TOKENS[what](key, theirs.url)
        async with unharmed(gateway):
            for way in ("header", "query", "frame"):
                try:
                    client = await shown(gateway, way, token)
                except (websockets.InvalidHandshake, ConnectionError):  # too large for a request
                    assert (what, way) in {("60 KB", "header"), ("60 KB", "query")}
                    continue
                assert (await client.expect("auth_failed"))["data"]["reason"] == "invalid", way
                assert await client.closed() == 4401
        assert theirs.asked == 0

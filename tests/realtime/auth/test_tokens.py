"""Check valid and invalid tokens (docs/protocol.md, Authentication)."""

import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from django.conf import settings

from realtime.auth.keys import Keys
from realtime.auth.principal import Principal
from realtime.auth.tokens import authenticate
from realtime.exceptions import AuthenticationError

SECRET = "a-secret-of-the-tests-" * 4
CONF = replace(settings.REALTIME, jwt_secret=SECRET)
KEYS = Keys(CONF)
LONG = 86_400
"""Lifetime of tokens in seconds; some are made during the collection of tests."""


def token(key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    given = {"userId": 42, "exp": int(time.time()) + LONG, **claims}
    return jwt.encode({name: value for name, value in given.items() if value is not None}, key, algorithm)


def reason(bad: str) -> str:
    with pytest.raises(AuthenticationError) as caught:
        authenticate(bad, KEYS)
    return caught.value.reason


def test_minimal_token_is_accepted() -> None:
    expires_at = int(time.time()) + 3600
    now = int(time.time())
    principal = authenticate(token(role="admin", iat=now, exp=expires_at), KEYS)
    assert principal == Principal(user_id=42, expires_at=expires_at, role="admin", issued_at=now)


def test_simplejwt_token_is_accepted() -> None:
    assert authenticate(token(jti="abc", token_type="access", name="Ann"), KEYS).name == "Ann"


@pytest.mark.parametrize("user_id", [1, 2**64 - 1, "1", str(2**64 - 1)])
def test_user_id_is_a_number_or_digits(user_id: object) -> None:
    assert authenticate(token(userId=user_id), KEYS).user_id == int(str(user_id))


@pytest.mark.parametrize(
    "user_id", [None, -1, 0, 2**64, 2**70, True, 1.0, "", "-1", "1.0", "４２", "0", str(2**64), [1], {}]
)
def test_any_other_user_id_is_invalid(user_id: object) -> None:
    assert reason(token(userId=user_id)) == "invalid"


def test_empty_token_is_missing() -> None:
    assert reason("") == "missing"


def test_past_exp_is_expired() -> None:
    assert reason(token(exp=int(time.time()) - 1)) == "expired"


@pytest.mark.parametrize("exp", [None, 10**18, 10**30, "soon", float("nan"), float("inf"), [1]])
def test_token_without_a_usable_exp_is_invalid(exp: object) -> None:
    assert reason(token(exp=exp)) == "invalid"


@pytest.mark.parametrize(
    "bad",
    [
        "garbage",
        "a.b.c",
        "\ud800",
        "." * 5_000,
        token(key="another-secret-of-the-tests-" * 4),
        token(algorithm="HS512"),
        token(key="", algorithm="none"),
        token(token_type="refresh"),
        token(token_type="sliding"),
    ],
    ids=["garbage", "parts", "surrogate", "dots", "another-key", "HS512", "none", "refresh", "sliding"],
)  # fmt: skip
def test_foreign_signature_or_token_type_is_invalid(bad: str) -> None:
    assert reason(bad) == "invalid"

"""Check valid and invalid tokens (docs/protocol.md, Authentication)."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from django.conf import settings

from config import env as environment
from realtime.auth.keys import Keys
from realtime.auth.principal import Principal
from realtime.auth.tokens import LATEST, authenticate
from realtime.exceptions import AuthenticationError

SECRET = "a-secret-of-the-tests-" * 4
CONF = replace(settings.REALTIME, jwt_secret=SECRET)
KEYS = Keys(CONF)
LONG = 86_400
"""Lifetime of tokens in seconds; some are made during the collection of tests."""


def token(key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    given = {"userId": 42, "exp": int(time.time()) + LONG, **claims}
    return jwt.encode({name: value for name, value in given.items() if value is not None}, key, algorithm)


def raw_token(claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """Return a signed token with claims and headers that PyJWT itself would not write."""
    parts = [{"alg": "HS256", **(header or {})}, claims]
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), signed, hashlib.sha256)).rstrip(b"=")
    return (signed + b"." + signature).decode()


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
    assert reason(token(exp=int(time.time()) - 11)) == "expired"


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -5), ("nbf", 5), ("iat", 1), ("iat", 9)])
def test_clocks_may_differ_by_ten_seconds(claim: str, seconds: int) -> None:
    now = int(time.time())
    text = raw_token({"userId": 42, "exp": now + LONG, claim: now + seconds})
    assert authenticate(text, KEYS).user_id == 42


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_token_of_the_future_is_invalid(claim: str) -> None:
    now = int(time.time())
    assert reason(raw_token({"userId": 42, "exp": now + LONG, claim: now + 60})) == "invalid"


@pytest.mark.parametrize("form", [int, float, str, lambda at: at + 0.75], ids=["int", "float", "str", "fraction"])
def test_times_are_read_in_any_form(form: Any) -> None:
    now = int(time.time())
    principal = authenticate(token(exp=form(now + 600), iat=form(now - 5), nbf=form(now - 5)), KEYS)
    assert (principal.expires_at, principal.issued_at) == (now + 600, now - 5)


@pytest.mark.parametrize("exp", [LATEST + 1, 10**18, 2**63 - 1])
def test_expiry_in_billions_of_years_counts_as_the_year_9999(exp: int) -> None:
    assert authenticate(token(exp=exp), KEYS).expires_at == LATEST


FOREIGN: dict[str, list[Any]] = {
    "sub": [7, 7.5, True, [1], {"id": 7}, None],
    "jti": [7, -7, 2**70, 7.5, False, [1], {"id": 7}, None],
    "iss": [7, ["us"], None],
    "aud": [7, "other", ["other", 7], {"a": 1}, [], None],
    "nbf": [None],
    "iat": [None],
    "token_type": [None],
    "role": [7, None],
    "name": [7, None],
    "anything": [2**200, {"deep": [[{}]]}, 1e300, "\x00", None],
}
"""Claims of other issuers, in forms that their libraries write."""


@pytest.mark.parametrize(("claim", "value"), [(claim, value) for claim in FOREIGN for value in FOREIGN[claim]])
def test_claim_that_is_not_ours_is_not_judged(claim: str, value: object) -> None:
    text = raw_token({"userId": 42, "exp": int(time.time()) + LONG, claim: value})
    assert authenticate(text, KEYS).user_id == 42


@pytest.mark.parametrize("header", [{"kid": 7}, {"kid": None}, {"typ": 7}, {"typ": "at+jwt"}, {"x": [1]}, {"cty": {}}])
def test_header_that_is_not_ours_is_not_judged(header: dict[str, Any]) -> None:
    assert authenticate(raw_token({"userId": 42, "exp": int(time.time()) + LONG}, header), KEYS).user_id == 42


def test_unknown_critical_header_is_invalid() -> None:
    assert reason(raw_token({"userId": 42, "exp": int(time.time()) + LONG}, {"crit": ["theirs"], "theirs": 1})) == (
        "invalid"
    )


@pytest.mark.parametrize(("jti", "text"), [(7, "7"), (2**70, str(2**70)), ("7", "7"), (True, ""), ([7], "")])
def test_token_id_is_a_text_or_a_number(jti: object, text: str) -> None:
    assert authenticate(raw_token({"userId": 42, "exp": int(time.time()) + LONG, "jti": jti}), KEYS).jti == text


@pytest.mark.parametrize("exp", [None, 2**63, 10**30, "soon", float("nan"), float("inf"), [1]])
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


async def test_settings_and_keys_show_no_secret() -> None:
    conf = replace(CONF, jwt_previous_secret="previous-" * 5, jwt_jwks_url="https://user:pass@keys.example/?key=x")
    keys = Keys(conf)
    keys._problem = "refused"
    text = f"{conf!r} {keys!r} {keys.__dict__!r} {await keys.state()} {environment.read()!r}".replace(repr(conf), "")
    for secret in (SECRET, "previous-", "user:pass", "key=x", settings.REALTIME.jwt_secret):
        assert secret not in text
        assert secret not in repr(conf)

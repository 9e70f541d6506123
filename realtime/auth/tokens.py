"""Verify a token and return its principal, without the database; `realtime.auth.keys` holds the keys."""

import re
import time
from typing import Any

import jwt

from realtime.auth.keys import Keys
from realtime.auth.principal import Principal
from realtime.exceptions import AuthenticationError

MAX_USER_ID = 2**64 - 1
MAX_TIME = 2**63 - 1
"""The latest expiry that an issuer can write, in Unix seconds."""
LATEST = 253_402_300_799
"""The end of the year 9999. A later expiry counts as this one: clients and their dates can hold it."""

_DIGITS = re.compile(r"[0-9]{1,20}")


async def resolve(token: str, keys: Keys) -> Principal:
    """Return the principal of a token; before rejecting it, fetch the key set again: a new key may have signed it.

    Raises:
        AuthenticationError: as `authenticate`.
        KeysUnavailable: the key set has never been fetched.
    """
    try:
        return authenticate(token, keys)
    except AuthenticationError as error:
        if error.reason != "invalid" or not await keys.refresh():
            raise
        return authenticate(token, keys)


def authenticate(token: str, keys: Keys) -> Principal:
    """Return the principal of a token, with the keys at hand (docs/protocol.md, "Authentication").

    Raises:
        AuthenticationError: reason ``missing``, ``expired`` or ``invalid``.
    """
    if not token:
        raise AuthenticationError("missing", "no token was given")
    return principal_of(_claims(token, keys))


def principal_of(claims: dict[str, Any]) -> Principal:
    """Return the principal that verified claims name.

    Raises:
        AuthenticationError: reason ``invalid``: they name no user, or an expiry beyond all bounds.
    """
    expires_at, issued_at = int(claims["exp"]), int(claims.get("iat", 0))
    if expires_at > MAX_TIME:
        raise AuthenticationError("invalid", "the token is not valid")
    return Principal(
        user_id=_user_id(claims.get("userId")),
        expires_at=min(expires_at, LATEST),
        role=_text(claims.get("role")) or "user",
        name=_text(claims.get("name")),
        avatar=_text(claims.get("avatar")),
        issued_at=min(issued_at, int(time.time())),  # the issuer's clock may be ahead
        jti=_token_id(claims.get("jti")),
    )


def _claims(token: str, keys: Keys) -> dict[str, Any]:
    for key in keys.for_token(token):
        try:
            claims = key.claims(token)
        except jwt.ExpiredSignatureError as error:
            raise AuthenticationError("expired", "the token has expired") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            continue  # try the next key: during a rotation two keys have the same algorithm
        if claims.get("token_type", "access") == "access":
            return claims
        break
    raise AuthenticationError("invalid", "the token is not valid")


def _user_id(claim: Any) -> int:
    if isinstance(claim, str) and _DIGITS.fullmatch(claim):
        claim = int(claim)
    if type(claim) is int and 1 <= claim <= MAX_USER_ID:
        return claim
    raise AuthenticationError("invalid", "claim userId is not a user's id")


def _text(claim: Any) -> str:
    return claim if isinstance(claim, str) else ""


def _token_id(claim: Any) -> str:
    """Return a token's id; a number counts as its decimal text."""
    return str(claim) if type(claim) is int else _text(claim)

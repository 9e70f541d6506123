"""Token to principal. The only door to simplejwt for verification; stateless, without the database."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.tokens import AccessToken

from realtime.conf import RealtimeConf
from realtime.exceptions import AuthenticationError

MAX_USER_ID = 2**64 - 1
_DIGITS = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Principal:
    """The user of a token. ``expires_at`` in Unix seconds."""

    user_id: int
    expires_at: int
    role: str = "user"
    name: str = ""
    avatar: str = ""
    issued_at: int = 0
    """In Unix seconds; 0 where the token doesn't say."""
    jti: str = ""
    """The token's own id, where it has one."""


def authenticate(token: str, conf: RealtimeConf) -> Principal:
    """The principal of a token (docs/protocol.md, "Authentication").

    Raises:
        AuthenticationError: reason ``missing``, ``expired`` or ``invalid``.
    """
    if not token:
        raise AuthenticationError("missing", "no token was given")
    try:
        claims = _token_class(conf.jwt_secret)(token).payload  # type: ignore[arg-type]  # simplejwt: a str is meant
        expires_at, issued_at = int(claims["exp"]), int(claims.get("iat") or 0)
    except ExpiredTokenError as error:
        raise AuthenticationError("expired", "the token has expired") from error
    except (TokenError, ValueError, TypeError, OverflowError, OSError, RecursionError) as error:
        raise AuthenticationError("invalid", "the token is not valid") from error
    return Principal(
        user_id=_user_id(claims.get("userId")),
        expires_at=expires_at,
        role=_text(claims.get("role")) or "user",
        name=_text(claims.get("name")),
        avatar=_text(claims.get("avatar")),
        issued_at=issued_at,
        jti=_text(claims.get("jti")),
    )


@lru_cache(maxsize=4)
def _token_class(secret: str) -> type[AccessToken]:
    backend = TokenBackend("HS256", signing_key=secret)

    class GatewayToken(AccessToken):
        """An access token that needs `exp`, may lack `jti` and `token_type`, and is never another type."""

        def get_token_backend(self) -> TokenBackend:
            return backend

        def verify(self) -> None:
            self.check_exp()
            if self.payload.get("token_type", "access") != "access":
                raise TokenError("not an access token")

    return GatewayToken


def _user_id(claim: Any) -> int:
    if isinstance(claim, str) and _DIGITS.fullmatch(claim):
        claim = int(claim)
    if type(claim) is int and 1 <= claim <= MAX_USER_ID:
        return claim
    raise AuthenticationError("invalid", "claim userId is not a user's id")


def _text(claim: Any) -> str:
    return claim if isinstance(claim, str) else ""

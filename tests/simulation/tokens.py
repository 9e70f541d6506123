"""Tokens of a world: their claims in plain text, because simplejwt reads a clock of its own."""

from realtime.auth.principal import Principal
from realtime.exceptions import AuthenticationError


def token_of(user_id: int, issued_at: int, expires_at: int) -> str:
    """Return a token of a user; times in Unix seconds."""
    return f"{user_id}.{issued_at}.{expires_at}"


def principal_of(token: str, now: float) -> Principal:
    """Return a token's principal; raise `AuthenticationError` if it has expired by then, in Unix seconds."""
    user_id, issued_at, expires_at = map(int, token.split("."))
    if expires_at <= now:
        raise AuthenticationError("expired", "the token has expired")
    return Principal(user_id, expires_at, name=f"user {user_id}", issued_at=issued_at, jti=token)

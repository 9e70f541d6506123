"""The principal: the user of a token, with the token's claims."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The user of a token. ``expires_at`` in Unix seconds."""

    user_id: int
    expires_at: int
    role: str = "user"
    name: str = ""
    avatar: str = ""
    issued_at: int = 0
    """In Unix seconds; 0 if the token has no ``iat``."""
    jti: str = ""
    """The token's id; empty if it has none."""

"""The user of a token."""

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
    """In Unix seconds; 0 where the token doesn't say."""
    jti: str = ""
    """The token's own id, where it has one."""

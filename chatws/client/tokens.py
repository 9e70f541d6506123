"""Where a client's tokens come from, and when it needs the next."""

import time
from typing import Protocol

RENEW_SECONDS = 60.0


class TokenFunction(Protocol):
    """Brings a token; ``fresh``: the last one was refused, or ends soon.

    Returns nothing (None, "") if there is no login any more: the client then ends with 4401. Raises what it likes if a
    token can't be had just now: the client tells it and tries again.
    """

    async def __call__(self, *, fresh: bool) -> str | None: ...


class NoToken(Exception):
    """The token function raised; says what."""


class Tokens:
    """A token, or the function that brings one."""

    def __init__(self, source: str | TokenFunction) -> None:
        self._source = source
        self._ends_at = 0.0
        self.stale = False
        """Whether the last token was refused: the next one has to be fresh."""

    @property
    def can_be_fresh(self) -> bool:
        """Whether another token than the last can be had."""
        return not isinstance(self._source, str)

    async def bring(self, *, fresh: bool) -> str | None:
        """A token, or nothing. Raises `NoToken`."""
        if isinstance(self._source, str):
            return self._source
        try:
            return await self._source(fresh=fresh)
        except Exception as error:  # whatever the application's function raises
            raise NoToken(f"no token: {type(error).__name__}: {error}") from error

    def lives(self, seconds: float) -> None:
        """The server took the last one, which ends in so many seconds."""
        self.stale = False
        self._ends_at = time.monotonic() + seconds

    def renewal(self) -> float | None:
        """Seconds until a fresh one is due: a minute before the end, at half of what is left of a short one."""
        left = self._ends_at - time.monotonic()
        return max(left - RENEW_SECONDS, left / 2) if self.can_be_fresh and left > 0.5 else None

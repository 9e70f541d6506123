"""Get a client's tokens, and compute when it needs a new one."""

import time
from typing import Protocol

RENEW_SECONDS = 60.0


class TokenFunction(Protocol):
    """Returns a token; with ``fresh`` a new one, because the last one was rejected or expires soon.

    It returns None or "" if the login has ended; the client then ends with 4401. It may raise any exception if a token
    is not available now; the client reports the error and retries.
    """

    async def __call__(self, *, fresh: bool) -> str | None: ...


class NoToken(Exception):
    """The token function raised an error; the text names it."""


class Tokens:
    """The source of tokens: one token, or a function that returns tokens."""

    def __init__(self, source: str | TokenFunction) -> None:
        self._source = source
        self._ends_at = 0.0
        self.stale = False
        """Whether the last token was rejected, so that the next one has to be new."""

    @property
    def can_be_fresh(self) -> bool:
        """Whether the source can give a new token."""
        return not isinstance(self._source, str)

    async def bring(self, *, fresh: bool) -> str | None:
        """Return a token, or None or "" if there is none. Raises `NoToken`."""
        if isinstance(self._source, str):
            return self._source
        try:
            return await self._source(fresh=fresh)
        except Exception as error:  # the application's function may raise anything
            raise NoToken(f"no token: {type(error).__name__}: {error}") from error

    def lives(self, seconds: float) -> None:
        """Note that the server accepted the last token, which expires in ``seconds``."""
        self.stale = False
        self._ends_at = time.monotonic() + seconds

    def renewal(self) -> float | None:
        """Return the seconds until a new token is needed; None if it cannot be renewed.

        That is `RENEW_SECONDS` before it expires, or for a short one at half of its remaining time.
        """
        left = self._ends_at - time.monotonic()
        return max(left - RENEW_SECONDS, left / 2) if self.can_be_fresh and left > 0.5 else None

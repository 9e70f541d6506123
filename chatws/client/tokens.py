"""Get a client's tokens, and compute when it needs a new one."""

import asyncio
import inspect
import time
from typing import Protocol

RENEW_SECONDS = 60.0


class TokenFunction(Protocol):
    """Returns a token; with ``fresh`` a new one, because the last one was rejected or expires soon.

    It returns None or "" if the login has ended; the client then ends with 4401. It may raise any exception if a token
    is not available now; the client reports the error and retries. So it does if the function takes too long, or
    returns something else than a text.
    """

    async def __call__(self, *, fresh: bool) -> str | None: ...


class NoToken(Exception):
    """The token function raised an error, took too long or returned no text; the message says which."""


class Tokens:
    """The source of tokens: one token, or a function that returns tokens."""

    def __init__(self, source: str | TokenFunction, patience: float) -> None:
        self._source = source
        self._patience = patience
        """How long the function may take, in seconds."""
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
        limit = asyncio.timeout(self._patience)
        try:
            async with limit:
                found = self._source(fresh=fresh)
                token: object = await found if inspect.isawaitable(found) else found
        except TimeoutError as error:
            why = f"no answer within {self._patience:g} s" if limit.expired() else f"TimeoutError: {error}"
            raise NoToken(f"no token: {why}") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # the client itself ends
            raise NoToken("no token: the token function was cancelled") from None
        except Exception as error:  # the application's function may raise anything
            raise NoToken(f"no token: {type(error).__name__}: {error}") from error
        if token and not isinstance(token, str):
            raise NoToken(f"no token: the token function returned {type(token).__name__}, not str")
        return token if isinstance(token, str) else None

    def accepted(self, expires_at: object, timestamp: object) -> None:
        """Note that the server accepted the last token, and when it expires, both by the server's clock."""
        self.stale = False
        self._ends_at = time.monotonic()
        if isinstance(expires_at, int | float) and isinstance(timestamp, int | float):
            self._ends_at += expires_at - timestamp

    def renewal(self) -> float | None:
        """Return the seconds until a new token is needed; None if it cannot be renewed.

        That is `RENEW_SECONDS` before it expires, or for a short one at half of its remaining time.
        """
        left = self._ends_at - time.monotonic()
        return max(left - RENEW_SECONDS, left / 2) if self.can_be_fresh and left > 0.5 else None

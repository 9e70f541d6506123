"""Translate what redis-py raises, once, into our own errors. No other module reads an error of Redis.

Every error is transient unless it is known to be permanent. For example, a Redis that is loading,
is full, can't save or lacks replicas answers with an error, and recovers later.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

from realtime.exceptions import (
    GroupExists,
    MissingKey,
    RealtimeError,
    RedisConnectionLost,
    RedisDefect,
    RedisRefused,
    RedisUnavailable,
)

__all__ = ["StaleServer", "UnknownScript", "translate", "translated"]

PERMANENT_CODES = frozenset({"WRONGTYPE", "CROSSSLOT"})
"""Codes of permanent replies: a key of another type, keys that no cluster has in one place."""

PERMANENT_TEXT = re.compile(
    r"\buser_script\b|compiling script|more fields than"  # a mistake in a script, or what one of ours refuses
    r"|unknown (sub)?command|wrong number of arg|syntax error|undeclared key|numkeys|Number of keys"
    r"|is not (an integer|a valid|an? )|out of range|Invalid stream ID|equal or smaller",
    re.IGNORECASE,
)
"""Texts of permanent replies with the code ``ERR``, which Redis also uses for what passes (too many clients)."""

STALE_CODES = frozenset({"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "UNBLOCKED", "MOVED", "ASK"})
"""Codes by which a server says that it isn't the one to write to now. Another one may have taken over its address."""

CODES_OF_CLASSES = {
    exceptions.ReadOnlyError: "READONLY", exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN", exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.OutOfMemoryError: "OOM", exceptions.NoPermissionError: "NOPERM", exceptions.TryAgainError: "TRYAGAIN",
    exceptions.ClusterCrossSlotError: "CROSSSLOT", exceptions.AskError: "ASK", exceptions.MovedError: "MOVED",
    exceptions.ExecAbortError: "EXECABORT",
}  # fmt: skip
"""redis-py has classes of its own for some replies, and takes the code off their texts."""

CODE = re.compile(r"[A-Z]{3,}\b")

BROKEN = (AttributeError, TypeError, RuntimeError, EOFError)
"""What redis-py, asyncio and uvloop raise besides for a connection that is reset while a command is written."""


class UnknownScript(RedisRefused):
    """Redis doesn't have a script of this digest: it was restarted or flushed."""


class StaleServer(RedisRefused):
    """The server at the end of this connection can't be written to: a replica, or one that still loads its data."""


@contextmanager
def translated(*besides: type[Exception]) -> Iterator[None]:
    """Raise our own errors instead of redis-py's and the socket's.

    ``besides``: more exceptions that mean here that the connection is lost.

    Raises:
        RedisUnavailable: the same command may succeed later; `RedisRefused` if Redis answered so,
            `RedisConnectionLost` if the connection ended.
        RedisDefect: it will never succeed.
    """
    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        raise translate(error) from error
    except besides as error:
        raise RedisConnectionLost(f"{type(error).__name__}: {error}") from error


def translate(error: Exception) -> RealtimeError:
    """Return our own error for one of redis-py's; its text stays the same, behind the code of Redis's reply."""
    text = str(error) or type(error).__name__
    if isinstance(error, exceptions.NoScriptError):
        return UnknownScript(text)
    if code := _code_of(error, text):
        return _of_reply(code, text if text.startswith(code) or code == "ERR" else f"{code} {text}")
    if isinstance(error, exceptions.DataError):
        return RedisDefect(text)
    if isinstance(error, exceptions.ConnectionError | exceptions.InvalidResponse) and (
        "No connection available" not in text  # all are in use
    ):
        return RedisConnectionLost(text)
    return RedisUnavailable(text)


def _code_of(error: Exception, text: str) -> str:
    """Return the code of a reply; empty for an error that isn't a reply."""
    code: str | None = getattr(error, "status_code", None) or CODES_OF_CLASSES.get(type(error))
    if code or not isinstance(error, exceptions.ResponseError):
        return code or ""
    found = CODE.match(text)
    return found[0] if found else "ERR"


def _of_reply(code: str, text: str) -> RealtimeError:
    if "no such key" in text:
        return MissingKey(text)
    if code == "BUSYGROUP":
        return GroupExists(text)
    if code in PERMANENT_CODES or (code == "ERR" and PERMANENT_TEXT.search(text)):
        return RedisDefect(text)
    return StaleServer(text) if code in STALE_CODES else RedisRefused(text)

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
    RedisUnavailable,
)

__all__ = ["UnknownScript", "translate", "translated"]

PERMANENT = frozenset({"WRONGTYPE"})
"""Codes of permanent replies: a key of another type.

A reply without a code is permanent, too: an unknown command, or a mistake in a script (redis-py omits ``ERR``).
"""
CODE = re.compile(r"[A-Z]{3,}\b")


class UnknownScript(RedisUnavailable):
    """Redis doesn't have a script of this digest: it was restarted or flushed."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise our own errors instead of redis-py's and the socket's.

    Raises:
        RedisUnavailable: the same command may succeed later; `RedisConnectionLost` if the connection ended.
        RedisDefect: it will never succeed.
    """
    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        raise translate(error) from error


def translate(error: exceptions.RedisError | OSError) -> RealtimeError:
    """Return our own error for one of redis-py's; its text stays the same."""
    text = str(error) or type(error).__name__
    if isinstance(error, exceptions.NoScriptError):
        return UnknownScript(text)
    if isinstance(error, exceptions.ResponseError):
        return _of_reply(error, text)
    if isinstance(error, exceptions.ConnectionError) and "No connection available" not in text:  # all are in use
        return RedisConnectionLost(text)
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
        return RedisUnavailable(text)
    return RedisDefect(text)


def _of_reply(error: exceptions.ResponseError, text: str) -> RealtimeError:
    if "no such key" in text:
        return MissingKey(text)
    code = CODE.match(text)
    if code is not None and code[0] == "BUSYGROUP":
        return GroupExists(text)
    # redis-py has classes of its own for some transient replies, and takes the code off their texts.
    is_transient = type(error) is not exceptions.ResponseError or (code is not None and code[0] not in PERMANENT)
    return RedisUnavailable(text) if is_transient else RedisDefect(text)

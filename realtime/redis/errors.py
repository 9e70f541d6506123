"""What an error of Redis means. Nobody else looks into its text.

Whatever isn't known to be permanent is worth another try: a Redis that loads, is full, can't save, lacks replicas or
has other rights for its user answers with an error, too, and is well again later.
"""

import re

from redis import exceptions

RedisError = exceptions.RedisError
ResponseError = exceptions.ResponseError
ConnectionLost = exceptions.ConnectionError

PERMANENT = frozenset({"WRONGTYPE"})
"""Codes of replies that a later try gets too: a key of another type. So is a reply without a code: a command that Redis
doesn't know, or a script's own mistake (redis-py leaves out the code ``ERR``)."""
CODE = re.compile(r"[A-Z]{3,}\b")


def is_transient(error: BaseException) -> bool:
    """Whether the same command may succeed later, the entry behind it being sound."""
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError | TimeoutError):
        return True
    if not isinstance(error, exceptions.ResponseError):
        return False
    if type(error) is not exceptions.ResponseError:  # redis-py has a class for it, and has taken the code off
        return True
    code = CODE.match(str(error))
    return code is not None and code[0] not in PERMANENT


def is_missing_key(error: exceptions.ResponseError) -> bool:
    """Whether a command failed since its key isn't there."""
    return "no such key" in str(error)


def is_existing_group(error: exceptions.ResponseError) -> bool:
    """Whether a consumer group wasn't made since it is there."""
    return str(error).startswith("BUSYGROUP")

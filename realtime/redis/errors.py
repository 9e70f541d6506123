"""Which errors of Redis are worth waiting for."""

from redis import exceptions

RedisError = exceptions.RedisError

ResponseError = exceptions.ResponseError

ConnectionLost = exceptions.ConnectionError

_TRANSIENT_REPLIES = (
    "LOADING", "READONLY", "OOM", "NOSCRIPT", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN",
)  # fmt: skip


def is_transient(error: BaseException) -> bool:
    """Whether the same command may succeed later, the entry behind it being sound."""
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError | TimeoutError):
        return True
    if isinstance(error, exceptions.ResponseError):
        return isinstance(error, _TRANSIENT_TYPES) or str(error).startswith(_TRANSIENT_REPLIES)
    return False


_TRANSIENT_TYPES = (
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.NoScriptError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.AskError,
    exceptions.TryAgainError,
)

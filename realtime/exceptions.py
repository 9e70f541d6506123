"""The errors that `realtime` raises on purpose, as one tree."""


class RealtimeError(Exception):
    """The base of all errors of `realtime`."""


class TransientError(RealtimeError):
    """Something outside this process is unavailable. The same call may succeed later."""


class RedisUnavailable(TransientError):
    """Redis can't be reached, doesn't answer in time, or refuses a command for now (it loads, is full, can't save)."""


class RedisConnectionLost(RedisUnavailable):
    """The connection to Redis ended before the answer came. The command may have run."""


class RedisRefused(RedisUnavailable):
    """Redis refuses the command for now: it is full, read-only or loading, can't save, has too many clients."""


class DatabaseUnavailable(TransientError):
    """The database can't be reached, or its tables don't exist yet."""


class FeedUnavailable(TransientError):
    """A process can't subscribe to a feed now, because Redis is unavailable."""


class RevocationsUnavailable(TransientError):
    """The revoked tokens have not been read yet: neither Redis nor the database has answered."""


class KeysUnavailable(TransientError):
    """The keys that verify tokens have never been fetched: their URL is unavailable."""


class LeaseLost(TransientError):
    """Another relay holds the topic's lease now."""


class RedisDefect(RealtimeError):
    """Redis refuses this command each time: a key of another type, an unknown command, a mistake in a script."""


class MissingKey(RedisDefect):
    """The command needs a key that doesn't exist."""


class GroupExists(RedisDefect):
    """The consumer group exists already."""


class AuthenticationError(RealtimeError):
    """A token is not accepted. ``reason`` is the word that `auth_failed` carries."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PoisonEntry(RealtimeError):
    """A stream entry that can never succeed, judged from its bytes alone. The text is its `dlq_reason`."""


class ListenError(RealtimeError):
    """The server can't listen on an address. The text names the address."""

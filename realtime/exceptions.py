"""Everything that `realtime` raises on purpose, as one tree."""


class RealtimeError(Exception):
    """Base of all."""


class AuthenticationError(RealtimeError):
    """A token that can't be accepted. ``reason`` is the word that `auth_failed` carries."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PoisonEntry(RealtimeError):
    """A stream entry that can never succeed, judged from its bytes alone. The text is its `dlq_reason`."""


class TryLater(RealtimeError):
    """Something outside is away (the database); the same batch may succeed later."""


class Unavailable(RealtimeError):
    """What a connection needs is away; worth trying again."""


class FeedUnavailable(Unavailable):
    """A feed can't be heard now (Redis is away)."""


class RevocationsUnavailable(Unavailable):
    """Nobody has said yet which tokens are revoked (Redis is away)."""


class KeysUnavailable(Unavailable):
    """The keys for tokens have never been had (their URL is away)."""


class ListenError(RealtimeError):
    """An address that can't be listened on; the text names it."""


class RedisUnavailable(RealtimeError):
    """Redis did not answer within the time given. The text names the address."""

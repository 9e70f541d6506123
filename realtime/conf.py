"""What `realtime` can be set to. Built once by the settings (`settings.REALTIME`), read through `get()`."""

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeConf:
    """Settings of delivery; durations in seconds, sizes in bytes."""

    redis_url: str
    jwt_secret: str
    start_timeout: float = 10.0
    """How long a process waits for Redis when it starts."""

    auth_seconds: float = 10.0
    """How long a socket may stay without authenticating."""
    query_token: bool = True
    """Whether `?token=` is looked at."""
    allowed_origins: tuple[str, ...] = ()
    """Origins that may open a socket besides the one whose host is the request's own; `*` allows all."""
    max_frame_bytes: int = 65_536
    bad_frames_per_minute: int = 20
    outbox_bytes: int = 1_048_576
    """How much may wait for one client that reads slowly."""

    log_publications: int = 1_000
    log_bytes: int = 1_048_576
    log_seconds: int = 86_400
    ids_seconds: int = 600
    """Least time for which a publication's id is remembered."""
    meta_seconds: int = 30 * 86_400
    linger_seconds: float = 30.0
    """How long a feed is still heard after its last local member left."""
    check_seconds: float | None = None
    """How often every feed's position is compared with its log; None: as the channel layer needs it."""

    presence_seconds: float = 30.0
    """Length of a gateway's lease on the presence of its connections."""

    audit_entries: int = 100_000
    """Longest the audit stream grows while the database is away."""

    consumer_group: str = "chatws"
    relay_batch: int = 1_000
    relay_lease_seconds: float = 3.0
    dead_letters: int = 10_000
    """Longest a `.dlq` stream grows."""


def get() -> RealtimeConf:
    """The settings of this process."""
    conf: RealtimeConf = settings.REALTIME
    return conf

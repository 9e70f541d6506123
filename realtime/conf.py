"""What `realtime` can be set to. Built once by the settings (`settings.REALTIME`), read through `get()`."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from django.conf import settings

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeConf:
    """Settings of delivery; durations in seconds, sizes in bytes."""

    redis_url: str
    jwt_secret: str
    """Of HS256; empty: none."""
    jwt_previous_secret: str = ""
    """Counts as well, while tokens that it signed live."""
    jwt_public_keys: tuple[str, ...] = ()
    """PEM texts: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA."""
    jwt_jwks_url: str = ""
    jwt_issuer: str = ""
    """What ``iss`` has to be; empty: anything."""
    jwt_audience: str = ""
    """What ``aud`` has to hold; empty: anything."""
    jwt_leeway: float = 0.0
    """How far the clocks of those who issue tokens may be off."""
    tracing: bool = False
    """Whether spans are recorded (extra `tracing`)."""
    start_timeout: float = 10.0
    """How long a process waits for Redis when it starts."""

    request_seconds: float = 10.0
    """How long a connection's first request may take to come whole, and how long one may be idle after a request."""
    auth_timeout: float = 10.0
    """How long a socket may stay without authenticating."""
    query_token: bool = True
    """Whether `?token=` is looked at."""
    allowed_origins: tuple[str, ...] = ()
    """Origins that may open a socket besides the one whose host is the request's own; `*` allows all."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose `X-Forwarded-For` is believed."""
    max_frame_bytes: int = 65_536
    waiting_frames: int = 64
    """Frames of a connection that wait behind one that is being served; then its socket isn't read."""
    bad_frames_per_minute: int = 20
    outbox_bytes: int = 1_048_576
    """How much may wait for one client that reads slowly."""

    drain_seconds: float = 30.0
    """Most time that a process which ends takes to send its connections away."""
    drain_delay: float = 0.0
    """How long `/ready` fails before the first of them is."""
    drain_per_second: float = 500.0
    drain_retry_seconds: int = 10
    """Each is told a random time up to this after which to come back."""
    revocation_days: int = 90
    """How long a revocation is remembered; no token may live longer."""

    # What one may do, a second or at once; 0 is no limit.
    max_connections: int = 50_000
    """Of one process."""
    max_memory_bytes: int = 0
    """Of one process; over it nobody new is let in."""
    connections_per_address: int = 1_000
    """At one process."""
    connections_per_user: int = 20
    """Over all gateways; the oldest goes."""
    accepts_per_second: float = 1_000.0
    """At one process."""
    frames_per_second: float = 50.0
    bytes_per_second: float = 65_536.0
    """From one connection."""
    sends_per_second: float = 10.0
    """By one user over all devices and gateways."""
    burst_seconds: float = 5.0
    """How many seconds' worth of a rate may come at once."""
    ephemeral_per_second: int = 50
    """Of one feed, handed out by one process; what is over it is left out."""
    refusals_per_minute: int = 60
    """How many frames of a connection may be refused as too fast before it is closed."""
    groups_per_connection: int = 1_000

    feed_publications: int = 1_000
    feed_bytes: int = 1_048_576
    feed_seconds: int = 86_400
    id_seconds: int = 600
    """Least time for which a publication's id is remembered."""
    meta_seconds: int = 30 * 86_400
    linger_seconds: float = 30.0
    """How long a feed is still heard after its last local member left."""
    check_seconds: float | None = None
    """How often every feed's position is compared with its log; None: as the channel layer needs it."""

    presence_lease: float = 30.0
    """Length of a gateway's lease on the presence of its connections."""

    audit_entries: int = 100_000
    """Longest the audit stream grows while the database is away."""

    consumer_group: str = "chatws"
    """Which shows a topic's lag, and is where a relay begins that has no cursor yet."""
    relay_batch: int = 1_000
    relay_lease_seconds: float = 3.0
    dead_letters: int = 10_000
    """Longest a `.dlq` stream grows."""


def get() -> RealtimeConf:
    """The settings of this process."""
    conf: RealtimeConf = settings.REALTIME
    return conf

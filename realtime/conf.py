"""The settings of `realtime`: built once by `settings.REALTIME`, read through `get()`."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from django.conf import settings

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeConf:
    """Settings of delivery; durations in seconds, sizes in bytes."""

    redis_url: str = field(repr=False)
    redis_replicas: int = 0
    """How many replicas of Redis must have what was written before it counts as written."""
    prefix: str = "chatws"
    """What the names of all keys and channels of this deployment begin with (`realtime.redis.keys`)."""
    jwt_secret: str = field(repr=False)
    """The secret for HS256; empty: none."""
    jwt_previous_secret: str = field(default="", repr=False)
    """Accepted as well during a rotation, until the tokens it signed have expired."""
    jwt_public_keys: tuple[str, ...] = ()
    """PEM texts: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA."""
    jwt_jwks_url: str = field(default="", repr=False)
    jwt_issuer: str = ""
    """Required value of ``iss``; empty: anything."""
    jwt_audience: str = ""
    """Value that ``aud`` has to contain; empty: anything."""
    jwt_leeway: float = 10.0
    """Tolerated difference to the clocks of token issuers."""
    tracing: bool = False
    """Whether spans are recorded (extra `tracing`)."""
    start_timeout: float = 10.0
    """How long a process waits for Redis at its start."""

    request_seconds: float = 10.0
    """How long a request's headers, and then its body, may take to arrive."""
    keep_alive_seconds: float = 75.0
    """How long an HTTP connection may be idle between two requests."""
    write_seconds: float = 30.0
    """How long a client may take to read what waits for it; an HTTP answer's last 64 KiB at most wait."""
    max_body_bytes: int = 1_048_576
    """Most bytes of an HTTP request's body."""
    probe_paths: tuple[str, ...] = ()
    """Paths that monitoring requests; they take no body."""
    auth_timeout: float = 10.0
    """How long a socket may stay unauthenticated."""
    query_token: bool = True
    """Whether a token in `?token=` is accepted."""
    allowed_origins: tuple[str, ...] = ()
    """Origins that may open a socket, besides the request's own host; `*` allows all."""
    trusted_proxies: tuple[Network, ...] = ()
    """Networks of proxies with a trusted `X-Forwarded-For`."""
    proxy_protocol: bool = False
    """Whether connections of trusted proxies begin with a PROXY header."""
    max_frame_bytes: int = 65_536
    waiting_frames: int = 64
    """Most frames of a connection that wait to be served; at this number its socket is not read."""
    waiting_bytes: int = 262_144
    """Most bytes of memory that the waiting frames take, before the last of them; then its socket is not read."""
    bad_frames_per_minute: int = 20
    outbox_bytes: int = 1_048_576
    """Most bytes that wait for one slow client."""

    drain_seconds: float = 30.0
    """Most time to close all connections when the process shuts down."""
    drain_delay: float = 0.0
    """How long `/ready` fails before the first connection is closed."""
    drain_per_second: float = 500.0
    """How many connections are closed per second."""
    drain_retry_seconds: int = 10
    """Each client is asked to reconnect after a random time up to this."""

    # Limits; 0 is no limit.
    max_connections: int = 50_000
    """Per process."""
    max_memory_bytes: int = 0
    """Per process; above it new connections are rejected."""
    connections_per_address: int = 1_000
    """Per process; here and below, an IPv6 address counts as its /64 network."""
    connections_per_user: int = 20
    """Over all gateways; the oldest connection is closed."""
    accepts_per_second: float = 1_000.0
    """Per process."""
    accepts_per_address: float = 200.0
    """Per second and process."""
    frames_per_second: float = 50.0
    """Per connection."""
    bytes_per_second: float = 65_536.0
    """Per connection."""
    sends_per_second: float = 10.0
    """Per user, over all devices and gateways."""
    burst_seconds: float = 5.0
    """Size of a burst, in seconds of the rate."""
    ephemeral_per_second: int = 50
    """Per feed and process; more ephemeral frames are dropped."""
    refusals_per_minute: int = 60
    """How many frames of a connection are rejected as too fast before it is closed."""
    groups_per_connection: int = 1_000

    feed_publications: int = 1_000
    feed_bytes: int = 1_048_576
    feed_seconds: int = 86_400
    id_seconds: int = 600
    """Least time that a publication's id is stored."""
    meta_seconds: int = 30 * 86_400
    linger_seconds: float = 30.0
    """How long a process stays subscribed to a feed after its last local subscriber left."""
    check_seconds: float | None = None
    """How often every feed's position is compared with its log; None: as the channel layer needs it."""

    presence_lease: float = 30.0
    """Length of a gateway's lease on the presence of its connections."""

    audit_bytes: int = 104_857_600
    """Most bytes of the audit stream while the database is unavailable."""
    audit_unauthenticated_per_minute: float = 60.0
    """Per process: connections that are recorded although they may never authenticate. 0: no limit."""
    audit_per_user_per_hour: float = 30.0
    """Per process: connections of one user that are recorded, after a burst of 100. 0: no limit."""

    consumer_group: str = "chatws"
    """The consumer group that shows a topic's lag; a relay without a cursor starts at its position."""
    relay_batch: int = 1_000
    """Most entries per batch."""
    relay_lease_seconds: float = 3.0
    dead_letters: int = 10_000
    """Most entries of a `.dlq` stream."""
    dead_letter_bytes: int = 67_108_864
    """Most bytes of a `.dlq` stream, as Redis measures it."""

    def max_body_of(self, path: str) -> int:
        """Return the most bytes of a body that a request for ``path`` may have."""
        return 0 if path in self.probe_paths else self.max_body_bytes


def get() -> RealtimeConf:
    """Return the settings of this process."""
    conf: RealtimeConf = settings.REALTIME
    return conf

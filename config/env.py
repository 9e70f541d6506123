"""Read and check the environment: every variable of this project, with its type, default and description."""

import ipaddress
import os
import re
import secrets
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from django.core.exceptions import ImproperlyConfigured

from realtime.conf import Network

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]
Limit = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
BASE_DIR: Path = Path(__file__).resolve().parent.parent


class Environment(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """The variables, by lower-case name. Each text is a row of the README's table. An empty value counts as unset."""

    host: str = "127.0.0.1"
    """address that the gateway listens on"""
    port: Port = 8889
    """port that the gateway listens on"""
    chatws_url_prefix: str = ""
    """path below which a proxy serves the gateway, e.g. `/chat`; the proxy may strip it or not"""
    chatws_data_dir: str = ".data"
    """folder for all data of a run"""
    redis_url: str = ""
    """Redis or Valkey to use, by `redis://`, `rediss://`, `valkey://`, `valkeys://`, `unix://` or
    `redis+sentinel://host:26379,…/<master>/0` (`?sentinel_user=…&sentinel_password=…`, `&tls=1`, `&ssl_ca_certs=…`);
    in a password `/ ? # [ ] @ : %` are percent-encoded; unset: `make run` starts an embedded one"""
    chatws_prefix: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.-]{1,32}\Z")] = "chatws"
    """what the names of all keys, of all channels and of the consumer group in Redis begin with: two deployments of one
    chat can share a Redis. The chat service's names (topics, `user:status:`) stay"""
    chatws_redis_replicas: Annotated[int, msgspec.Meta(ge=0, le=16)] = 0
    """how many replicas of Redis must have a publication before it is delivered, and an event before it counts as
    published: they then survive the death of the master"""
    chatws_redis_port: Port = 6399
    """port of the embedded Redis"""
    database_url: str = ""
    """e.g. `postgres://user:password@host/name`, percent-encoded as `REDIS_URL`; unset: SQLite in the data folder"""
    chatws_database_pooler: bool = False
    """`DATABASE_URL` leads to a pooler in transaction mode, such as PgBouncer: no server-side cursors and prepared
    statements, which outlive a transaction on its connection"""
    chatws_rpc_target: str = ""
    """chat service: comma-separated IPs with ports (balanced), one DNS name with a port, or
    `etcd://host:port,…/<key>` (`?user=…&password=…`, `&tls=1`, `&tls_ca=…`, `&tls_cert=…&tls_key=…`); unset: `make
    run` starts the reference service"""
    chatws_user_rpc_target: str = ""
    """user service with names and avatars, in the same forms; unset: names come from the token"""
    chatws_rpc_port: Port = 9003
    """port of the reference chat service"""
    chatws_rpc_tls_ca: str = ""
    """file with the trusted CA certificates for the chat service. Its certificate has to name the address in
    `CHATWS_RPC_TARGET`, with several the first; unset: no TLS"""
    chatws_jwt_secret: str = ""
    """secret for signing tokens (HS256); development creates one in the data folder"""
    chatws_jwt_previous_secret: str = ""
    """previous secret, still accepted during a rotation until its tokens have expired"""
    chatws_jwt_public_keys: str = ""
    """PEM files of public keys, comma-separated: RSA (RS256), P-256 (ES256), Ed25519 (EdDSA); all are accepted"""
    chatws_jwt_jwks_url: str = ""
    """URL of the identity provider's key set, fetched every 5 minutes and for an unknown key; while it is unavailable
    the last set stays valid"""
    chatws_jwt_issuer: str = ""
    """required value of a token's `iss`; unset: anything"""
    chatws_jwt_audience: str = ""
    """value that a token's `aud` has to contain; unset: anything"""
    chatws_jwt_leeway: Rate = 10.0
    """tolerated difference to the clocks of token issuers, in seconds"""
    chatws_query_token: bool = True
    """accept a token in the URL (`?token=`); the gateway does not log it, but proxies may"""
    django_secret_key: str = ""
    """Django's secret key; development creates one in the data folder"""
    chatws_allow_short_secrets: bool = False
    """production accepts secrets for tokens under 32 bytes"""
    chatws_allowed_hosts: str = ""
    """host names that are served; development: localhost"""
    chatws_allowed_origins: str = ""
    """origins that may open sockets, besides the gateway's own host: `https://app.example.com`, or
    `https://*.example.com` with `*` for one label"""
    chatws_behind_tls_proxy: bool = False
    """production: TLS ends at a proxy that sets `X-Forwarded-Proto`"""
    chatws_hsts_seconds: Annotated[int, msgspec.Meta(ge=0, le=315_360_000)] = 0
    """production: seconds that browsers use only HTTPS for this host (HSTS); 0: off. It can't be taken back sooner"""
    chatws_hsts_subdomains: bool = False
    """the same for all subdomains of the host, also those of other services"""
    chatws_hsts_preload: bool = False
    """ask browsers to build the host into their lists; needs a year of seconds and the subdomains"""
    chatws_admin: Literal["on", "off", "only"] = "on"
    """Django's admin: `on` (the gateway serves it), `off` (the gateway does not), `only` (this process serves the admin
    and its probes and nothing else: it is no gateway)"""
    chatws_http_threads: Count = 16
    """threads of a process that serve HTTP requests, each with at most one database connection; two more serve logins.
    16 requests for each may wait; more are answered with 503"""
    chatws_logins_per_name: Limit = 5
    """failed logins per 5 minutes with one name from one address (429); 0: no limit"""
    chatws_logins_per_address: Limit = 50
    """failed logins per 5 minutes from one address (429); 0: no limit"""
    chatws_demo_login: bool | None = None
    """issue tokens for Django's users at `/api/token/`; on by default with the reference service"""
    chatws_metrics_token: str = ""
    """bearer token that `/metrics` requires; without one, `/metrics` answers only with `CHATWS_PUBLIC_STATUS`"""
    chatws_public_status: bool | None = None
    """`/stats` and `/api/users/status` answer without a token; on in development"""
    chatws_status_for: Literal["everyone", "shared_groups"] = "everyone"
    """whose status a caller of `/api/users/status` sees: of `everyone`, as on the platform, or of itself and of those
    with whom it shares a chat group (`shared_groups`; a token is then always required)"""
    chatws_image_sources: Annotated[str, msgspec.Meta(pattern=r"\A[^;,\r\n]*\Z")] = "https:"
    """allowed sources of images and avatars on the chat page besides its own host, in Content-Security-Policy syntax,
    e.g. `https://images.example`; `'none'`: no other source"""
    chatws_start_timeout: Seconds = 10.0
    """seconds that a process waits for Redis at its start"""
    chatws_request_seconds: Seconds = 10.0
    """seconds that a request's headers, and then its body, may take to arrive"""
    chatws_keep_alive_seconds: Seconds = 75.0
    """seconds that an HTTP connection may be idle between requests; longer than the proxy's own (often 60)"""
    chatws_write_seconds: Seconds = 30.0
    """seconds that an HTTP client may take to read what waits for it"""
    chatws_max_body_bytes: Count = 1_048_576
    """most bytes of an HTTP request's body (413); probes take none"""
    chatws_auth_timeout: Seconds = 10.0
    """seconds that a socket may take to authenticate"""
    chatws_presence_lease: Seconds = 30.0
    """seconds after which the connections of a dead gateway are removed from presence"""
    chatws_membership_seconds: Rate = 300.0
    """seconds between two refreshes of each user's groups from the chat service, independent of events; 0: never"""
    chatws_message_publisher: Literal["rpc", "gateway"] = "rpc"
    """who publishes `chat.message.new`: `rpc` (the chat service) or `gateway`"""
    chatws_own_topics: bool | None = None
    """trim the chat service's streams behind their slowest consumer group (`0`: the chat service trims them); on by
    default with the reference service, and for `chat.message.new` if the gateway publishes it"""
    chatws_max_image_url: Annotated[int, msgspec.Meta(ge=0, le=2_048)] = 0
    """most characters of an image's URL that the chat service can store; 0: 512 if the gateway publishes messages, else
    2,048"""
    chatws_consumer_group: str = ""
    """consumer group that shows the relay's lag on each topic; the first relay starts at its position; empty: the value
    of `CHATWS_PREFIX`"""
    chatws_dead_letter_bytes: Count = 67_108_864
    """most bytes of a topic's dead letters in Redis; the oldest are dropped"""
    chatws_feed_publications: Count = 1_000
    """most publications that a feed's log keeps"""
    chatws_feed_bytes: Count = 1_048_576
    """most bytes that a feed's log keeps"""
    chatws_feed_seconds: Count = 86_400
    """seconds that a feed's log is kept after its last publication"""
    chatws_id_seconds: Annotated[int, msgspec.Meta(ge=600)] = 600
    """least seconds that a publication's id is stored to recognise a repeat"""
    chatws_drain_seconds: Seconds = 30.0
    """most seconds to close all connections when a gateway shuts down; 4 under `make run`"""
    chatws_drain_delay: Rate = 0.0
    """seconds that `/ready` fails before the first connection is closed"""
    chatws_drain_per_second: Seconds = 500.0
    """connections closed per second during a drain"""
    chatws_drain_retry_seconds: Count = 10
    """most seconds that a client waits before it reconnects after a drain"""
    chatws_trusted_proxies: str = ""
    """comma-separated addresses and networks of proxies with a trusted `X-Forwarded-For`"""
    chatws_proxy_protocol: bool = False
    """connections of trusted proxies (and over a Unix socket) begin with a PROXY header, version 1 or 2"""
    chatws_max_frame_bytes: Count = 65_536
    """most bytes of a frame; a longer one closes the socket with 1009"""
    chatws_waiting_frames: Count = 64
    """most frames of a connection that wait to be served; at this number its socket is not read"""
    chatws_waiting_bytes: Count = 262_144
    """most bytes of a connection's frames that wait to be served; over this number its socket is not read"""
    chatws_bad_frames_per_minute: Count = 20
    """bad frames per minute that close a socket (4400)"""
    chatws_outbox_bytes: Count = 1_048_576
    """most bytes that wait for a slow client (4502)"""
    chatws_max_connections: Limit = 50_000
    """most connections of a gateway process (4503); 0 here and below: no limit"""
    chatws_max_memory_bytes: Limit = 0
    """memory in bytes above which a gateway process rejects new connections (4503)"""
    chatws_connections_per_address: Limit = 1_000
    """most connections from one address (IPv6: from one /64 network) at a gateway process (4503)"""
    chatws_connections_per_user: Limit = 20
    """most connections of a user over all gateways; the oldest is closed (4409)"""
    chatws_accepts_per_second: Rate = 1_000.0
    """connections per second that a gateway process accepts (4503)"""
    chatws_accepts_per_address: Rate | None = None
    """connections per second from one address that a gateway process accepts (4503), 0: no limit; default: a fifth of
    `CHATWS_ACCEPTS_PER_SECOND`"""
    chatws_frames_per_second: Rate = 50.0
    """frames per second that are served on a connection (429, then 4529)"""
    chatws_bytes_per_second: Rate = 65_536.0
    """bytes per second that are served on a connection (429, then 4529)"""
    chatws_sends_per_second: Rate = 10.0
    """messages per second that a user may send, over all devices and gateways (429)"""
    chatws_burst_seconds: Seconds = 5.0
    """size of a burst, in seconds of these rates"""
    chatws_ephemeral_per_second: Limit = 50
    """ephemeral frames (`typing`, `message_read`) per second of a feed; more are dropped"""
    chatws_refusals_per_minute: Count = 60
    """frames per minute that are rejected with 429 before the socket is closed (4529)"""
    chatws_groups_per_connection: Limit = 1_000
    """most chat groups that a connection is subscribed to (429 `groups_limit`)"""
    chatws_audit_unauthenticated_per_minute: Rate = 60.0
    """connections per minute of a gateway process that the audit records although they may never authenticate; over it
    a connection is recorded once it authenticates"""
    chatws_audit_per_user_per_hour: Rate = 30.0
    """connections per hour of one user that a gateway process records in the audit, after a burst of 100"""
    chatws_tracing: bool = False
    """send OpenTelemetry spans to `OTEL_EXPORTER_OTLP_ENDPOINT` (needs `requirements-tracing.txt`); the other `OTEL_`
    variables apply as well"""
    chatws_log_format: Literal["", "line", "json"] = ""
    """`line` for people, `json` for log collectors (one object per line, with connection, user and trace); default in
    production: `json`"""
    chatws_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`"""

    def __repr__(self) -> str:
        """Show no value: some are secrets, and Django's page for an error shows all settings."""
        return "<the environment>"

    @property
    def data_dir(self) -> Path:
        """The folder for all data of a run; a relative path starts at the project's folder."""
        return BASE_DIR / self.chatws_data_dir

    @property
    def redis_address(self) -> str:
        """The URL of Redis: `REDIS_URL`, else the embedded one."""
        url = re.sub(r"\Avalkey(s?)://", r"redis\1://", self.redis_url)
        return url or f"redis://127.0.0.1:{self.chatws_redis_port}/0"

    @property
    def accepts_per_address(self) -> float:
        """`CHATWS_ACCEPTS_PER_ADDRESS`, else a fifth of the rate for all: several addresses fit beside each other."""
        given = self.chatws_accepts_per_address
        return self.chatws_accepts_per_second / 5 if given is None else given

    @property
    def rpc_target(self) -> str:
        """The chat service: `CHATWS_RPC_TARGET`, else the reference service."""
        return self.chatws_rpc_target or f"127.0.0.1:{self.chatws_rpc_port}"

    def owns(self, by_default: bool) -> bool:
        """Return whether the relay may trim a topic: `CHATWS_OWN_TOPICS` if set, else ``by_default``."""
        return by_default if self.chatws_own_topics is None else self.chatws_own_topics

    @property
    def uses_reference_rpc(self) -> bool:
        """Whether the reference chat service is used."""
        return not self.chatws_rpc_target


def read() -> Environment:
    """Read the environment of this process. White space around a value is dropped, except around a secret.

    Raises:
        ImproperlyConfigured: a variable has an invalid value; the message names it.
    """
    values = {name: os.environ.get(name, "") for name in Environment.__struct_encode_fields__}
    given = {
        name: kept
        for name, value in values.items()
        if (kept := value if name.endswith(("_SECRET", "_KEY", "_TOKEN")) else value.strip())
    }
    try:
        return msgspec.convert(given, Environment, strict=False)
    except msgspec.ValidationError as error:
        problem, _, name = str(error).partition(" - at `$.")
        name = name.rstrip("`")
        raise ImproperlyConfigured(f"{name}: {problem} (it is {given.get(name)!r})") from None


def list_of(value: str) -> list[str]:
    """Return the parts of a comma-separated value, without empty ones."""
    return [part.strip() for part in value.split(",") if part.strip()]


def networks_of(value: str) -> tuple[Network, ...]:
    """Return the networks of a comma-separated value of addresses, each with or without a prefix length.

    Raises:
        ImproperlyConfigured: a part is neither; the message names `CHATWS_TRUSTED_PROXIES`.
    """
    try:
        return tuple(ipaddress.ip_network(part) for part in list_of(value))
    except ValueError as error:
        raise ImproperlyConfigured(f"CHATWS_TRUSTED_PROXIES: {error}") from None


def development_secret(data_dir: Path, name: str) -> str:
    """Return a secret stored in the data folder, readable only by its owner; create it at the first call."""
    path = data_dir / name
    try:
        return path.read_text()
    except FileNotFoundError:
        pass
    data_dir.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    try:
        os.link(fresh, path)  # the first of several processes wins
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return path.read_text()


def public_keys_of(paths: str) -> tuple[str, ...]:
    """Return the PEM texts of public keys; ``paths`` are their files, comma-separated.

    Raises:
        ImproperlyConfigured: a file is not readable, or not a public key in PEM.
    """
    if not paths:
        return ()
    from cryptography.exceptions import UnsupportedAlgorithm  # here: most have no public keys
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    texts = []
    for path in list_of(paths):
        try:
            text = Path(path).read_text()
            load_pem_public_key(text.encode())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise ImproperlyConfigured(f"CHATWS_JWT_PUBLIC_KEYS: {path}: no public key in PEM: {error}") from None
        texts.append(text)
    return tuple(texts)

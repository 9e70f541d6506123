"""The environment, read once and checked: each variable this project knows, with its type and default."""

import ipaddress
import os
import secrets
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from django.core.exceptions import ImproperlyConfigured

from realtime.conf import Network

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Limit = Annotated[int, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(ge=0)]
BASE_DIR: Path = Path(__file__).resolve().parent.parent


class Environment(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """Variables by name (upper-cased), each with its row of the README's table. An empty value counts as unset."""

    host: str = "127.0.0.1"
    """address that the gateway listens on"""
    port: Port = 8889
    """port that the gateway listens on"""
    chatws_data_dir: str = ".data"
    """folder of everything a run keeps"""
    redis_url: str = ""
    """Redis to use; unset: `make run` starts an embedded one"""
    chatws_redis_port: Port = 6399
    """port of the embedded Redis"""
    database_url: str = ""
    """e.g. `postgres://user@host/name`; unset: SQLite in the data folder"""
    chatws_rpc_target: str = ""
    """chat service: IPs with ports, comma separated and balanced, one DNS name with a port, or
    `etcd://host:port,…/<key>` (`?user=…&password=…`, `&tls=1`, `&tls_ca=…`, `&tls_cert=…&tls_key=…`); unset: `make
    run` starts the reference service"""
    chatws_user_rpc_target: str = ""
    """user service that knows names and avatars, in the same forms; unset: names are the token's"""
    chatws_rpc_port: Port = 9003
    """port of the reference chat service"""
    chatws_rpc_tls_ca: str = ""
    """file with the certificates that the chat service's is checked against, which names the address (of several: each
    names the first); unset: no TLS"""
    chatws_jwt_secret: str = ""
    """secret that tokens are signed with (HS256); development makes one in the data folder"""
    chatws_jwt_previous_secret: str = ""
    """the secret before it, which counts too while its tokens live"""
    chatws_jwt_public_keys: str = ""
    """PEM files of public keys, comma separated: RSA (RS256), P-256 (ES256), Ed25519 (EdDSA); several count at once"""
    chatws_jwt_jwks_url: str = ""
    """key set of the identity provider, read every 5 minutes and for a key that is new; the last one stays while it is
    away"""
    chatws_jwt_issuer: str = ""
    """what a token's `iss` has to be; unset: anything"""
    chatws_jwt_audience: str = ""
    """what a token's `aud` has to hold; unset: anything"""
    chatws_jwt_leeway: Rate = 0.0
    """seconds by which the clocks of those who issue tokens may be off"""
    chatws_query_token: bool = True
    """whether a token in the address (`?token=`) counts; it is in no log of ours, but proxies write theirs"""
    django_secret_key: str = ""
    """Django's secret; development makes one in the data folder"""
    chatws_allow_short_secrets: bool = False
    """production takes secrets under 32 bytes"""
    chatws_allowed_hosts: str = ""
    """host names that are served; development: localhost"""
    chatws_allowed_origins: str = ""
    """origins whose pages may open sockets besides the page's own"""
    chatws_behind_tls_proxy: bool = False
    """production: TLS ends at a proxy that sets `X-Forwarded-Proto`"""
    chatws_demo_login: bool | None = None
    """tokens for Django's users at `/api/token/`; on where the reference service is used"""
    chatws_metrics_token: str = ""
    """bearer token that `/metrics` asks for; without one it is there only with `CHATWS_PUBLIC_STATUS`"""
    chatws_public_status: bool | None = None
    """`/stats` and `/api/users/status` answer without a token; on in development"""
    chatws_image_sources: Annotated[str, msgspec.Meta(pattern=r"\A[^;,\r\n]*\Z")] = "https:"
    """where the chat page may load images and avatars from besides its own host, as a Content-Security-Policy puts it,
    e.g. `https://images.example`; `'none'`: nowhere"""
    chatws_start_timeout: Seconds = 10.0
    """seconds that a process waits for Redis when it starts"""
    chatws_request_seconds: Seconds = 10.0
    """seconds within which a connection's first request has to come whole, and for which one may be idle after a
    request"""
    chatws_auth_timeout: Seconds = 10.0
    """seconds that a socket may take to authenticate"""
    chatws_presence_lease: Seconds = 30.0
    """seconds after which a gateway that died counts as gone"""
    chatws_membership_seconds: Rate = 300.0
    """how often the chat service is asked for each user's groups, whatever the events say; 0: never"""
    chatws_message_publisher: Literal["rpc", "gateway"] = "rpc"
    """who publishes `chat.message.new`: `rpc` (the chat service) or `gateway`"""
    chatws_own_topics: bool | None = None
    """the chat service's streams are trimmed behind their slowest consumer group; on where the reference service is
    used, and for `chat.message.new` where the gateway writes it"""
    chatws_max_image_url: Annotated[int, msgspec.Meta(ge=0, le=2_048)] = 0
    """most characters of an image's address, what the chat service can store: 512 where the gateway publishes, else
    2,048"""
    chatws_consumer_group: str = "chatws"
    """consumer group that shows the relay's lag on each topic; the first relay begins at its position"""
    chatws_feed_publications: Count = 1_000
    """most publications that a feed's log keeps"""
    chatws_feed_bytes: Count = 1_048_576
    """most bytes that a feed's log keeps"""
    chatws_feed_seconds: Count = 86_400
    """seconds that a feed's log is kept after its last publication"""
    chatws_id_seconds: Annotated[int, msgspec.Meta(ge=600)] = 600
    """seconds for which a publication's id is remembered at least"""
    chatws_drain_seconds: Seconds = 30.0
    """most seconds that a gateway which ends takes to send its connections away; 4 under `make run`"""
    chatws_drain_delay: Rate = 0.0
    """seconds for which `/ready` fails before the first connection is sent away"""
    chatws_drain_per_second: Seconds = 500.0
    """connections a second that are sent away"""
    chatws_drain_retry_seconds: Count = 10
    """most seconds that a connection which is sent away has to wait before it comes back"""
    chatws_revocation_days: Count = 90
    """how long a revoked token is remembered; no token may live longer"""
    chatws_trusted_proxies: str = ""
    """addresses and networks, comma separated, whose `X-Forwarded-For` is believed"""
    chatws_max_frame_bytes: Count = 65_536
    """most bytes of a frame; over it the socket is closed with 1009"""
    chatws_waiting_frames: Count = 64
    """frames of a connection that wait behind one that is being served; then its socket isn't read"""
    chatws_bad_frames_per_minute: Count = 20
    """bad frames in a minute that close a socket (4400)"""
    chatws_outbox_bytes: Count = 1_048_576
    """most bytes that wait for a client that reads slowly (4502)"""
    chatws_max_connections: Limit = 50_000
    """most connections of a gateway process (4503); 0 here and below: no limit"""
    chatws_max_memory_bytes: Limit = 0
    """over so much memory a gateway process lets nobody new in (4503)"""
    chatws_connections_per_address: Limit = 1_000
    """most connections from one address at a gateway process (4503)"""
    chatws_connections_per_user: Limit = 20
    """most connections of a user over all gateways; the oldest goes (4409)"""
    chatws_accepts_per_second: Rate = 1_000.0
    """connections a second that a gateway process accepts (4503)"""
    chatws_frames_per_second: Rate = 50.0
    """frames a second that are served on a connection (429, then 4529)"""
    chatws_bytes_per_second: Rate = 65_536.0
    """bytes a second that are served on a connection (429, then 4529)"""
    chatws_sends_per_second: Rate = 10.0
    """messages a second that a user may send, over all devices and gateways (429)"""
    chatws_burst_seconds: Seconds = 5.0
    """how many seconds' worth of these rates may come at once"""
    chatws_ephemeral_per_second: Limit = 50
    """frames a second of a feed that aren't kept (`typing`, `message_read`); the rest is dropped"""
    chatws_refusals_per_minute: Count = 60
    """frames in a minute that are refused with 429 before the socket is closed (4529)"""
    chatws_groups_per_connection: Limit = 1_000
    """most chat groups that a connection is subscribed to (429 `groups_limit`)"""
    chatws_tracing: bool = False
    """spans by OpenTelemetry (`requirements-tracing.txt`), to where `OTEL_EXPORTER_OTLP_ENDPOINT` says; the other
    `OTEL_` variables count too"""
    chatws_log_format: Literal["", "line", "json"] = ""
    """`line` to be read, `json` to be collected (an object a line, with connection, user and trace); production writes
    JSON"""
    chatws_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`"""

    @property
    def data_dir(self) -> Path:
        """The folder of everything a run keeps; relative to the project."""
        return BASE_DIR / self.chatws_data_dir

    @property
    def redis_address(self) -> str:
        """The Redis to use: the one named, else the embedded one."""
        return self.redis_url or f"redis://127.0.0.1:{self.chatws_redis_port}/0"

    @property
    def rpc_target(self) -> str:
        """The chat service to use: the one named, else the reference service."""
        return self.chatws_rpc_target or f"127.0.0.1:{self.chatws_rpc_port}"

    def owns(self, by_default: bool) -> bool:
        """Whether a topic is ours to trim: as `CHATWS_OWN_TOPICS` says, where it says anything."""
        return by_default if self.chatws_own_topics is None else self.chatws_own_topics

    @property
    def uses_reference_rpc(self) -> bool:
        """Whether the reference chat service is the one in use."""
        return not self.chatws_rpc_target


def read() -> Environment:
    """The environment of this process.

    Raises:
        ImproperlyConfigured: a variable that can't be read; the message names it.
    """
    given = {name: value for name in Environment.__struct_encode_fields__ if (value := os.environ.get(name))}
    try:
        return msgspec.convert(given, Environment, strict=False)
    except msgspec.ValidationError as error:
        problem, _, name = str(error).partition(" - at `$.")
        name = name.rstrip("`")
        raise ImproperlyConfigured(f"{name}: {problem} (it is {given.get(name)!r})") from None


def list_of(value: str) -> list[str]:
    """The parts of a comma-separated value, without the empty ones."""
    return [part.strip() for part in value.split(",") if part.strip()]


def networks_of(value: str) -> tuple[Network, ...]:
    """The networks of a comma-separated value: addresses, or with a prefix length.

    Raises:
        ImproperlyConfigured: one that is neither; the message names `CHATWS_TRUSTED_PROXIES`.
    """
    try:
        return tuple(ipaddress.ip_network(part) for part in list_of(value))
    except ValueError as error:
        raise ImproperlyConfigured(f"CHATWS_TRUSTED_PROXIES: {error}") from None


def development_secret(data_dir: Path, name: str) -> str:
    """A secret made once and kept in the data folder, readable by its owner only."""
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
    """The PEM texts of the public keys in files, comma-separated.

    Raises:
        ImproperlyConfigured: a file that can't be read, or that holds another thing.
    """
    if not paths:
        return ()
    from cryptography.exceptions import UnsupportedAlgorithm  # here: most have no such keys
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


def web_address_of(value: str) -> str:
    """An address to fetch from, or nothing.

    Raises:
        ImproperlyConfigured: plain HTTP to another machine, or no address at all.
    """
    parts = urlsplit(value)
    is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if value and not is_local and (parts.scheme != "https" or not parts.hostname):
        raise ImproperlyConfigured(f"CHATWS_JWT_JWKS_URL: not an https:// address (it is {value!r})")
    return value

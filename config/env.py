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
    """Variables by name (upper-cased). An empty value counts as unset."""

    host: str = "127.0.0.1"
    port: Port = 8889
    redis_url: str = ""
    database_url: str = ""
    django_secret_key: str = ""
    chatws_data_dir: str = ".data"
    chatws_redis_port: Port = 6399
    chatws_rpc_target: str = ""
    chatws_user_rpc_target: str = ""
    chatws_rpc_port: Port = 9003
    chatws_rpc_tls_ca: str = ""
    chatws_jwt_secret: str = ""
    chatws_jwt_previous_secret: str = ""
    chatws_jwt_public_keys: str = ""
    chatws_jwt_jwks_url: str = ""
    chatws_jwt_issuer: str = ""
    chatws_jwt_audience: str = ""
    chatws_jwt_leeway: Rate = 0.0
    chatws_query_token: bool = True
    chatws_allowed_hosts: str = ""
    chatws_allowed_origins: str = ""
    chatws_behind_tls_proxy: bool = False
    chatws_allow_short_secrets: bool = False
    chatws_demo_login: bool | None = None
    chatws_public_status: bool | None = None
    chatws_metrics_token: str = ""
    chatws_image_sources: Annotated[str, msgspec.Meta(pattern=r"\A[^;,\r\n]*\Z")] = "https:"
    chatws_log_format: Literal["", "line", "json"] = ""
    chatws_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    chatws_tracing: bool = False
    chatws_start_timeout: Seconds = 10.0
    chatws_request_seconds: Seconds = 10.0
    chatws_auth_timeout: Seconds = 10.0
    chatws_presence_lease: Seconds = 30.0
    chatws_membership_seconds: Rate = 300.0
    chatws_message_publisher: Literal["rpc", "gateway"] = "rpc"
    chatws_own_topics: bool | None = None
    chatws_max_image_url: Annotated[int, msgspec.Meta(ge=0, le=2_048)] = 0
    chatws_consumer_group: str = "chatws"
    chatws_feed_publications: Count = 1_000
    chatws_feed_bytes: Count = 1_048_576
    chatws_feed_seconds: Count = 86_400
    chatws_id_seconds: Annotated[int, msgspec.Meta(ge=600)] = 600
    chatws_trusted_proxies: str = ""
    chatws_drain_seconds: Seconds = 30.0
    chatws_drain_delay: Rate = 0.0
    chatws_drain_per_second: Seconds = 500.0
    chatws_drain_retry_seconds: Count = 10
    chatws_revocation_days: Count = 90
    chatws_max_frame_bytes: Count = 65_536
    chatws_waiting_frames: Count = 64
    chatws_bad_frames_per_minute: Count = 20
    chatws_outbox_bytes: Count = 1_048_576
    chatws_max_connections: Limit = 50_000
    chatws_max_memory_bytes: Limit = 0
    chatws_connections_per_address: Limit = 1_000
    chatws_connections_per_user: Limit = 20
    chatws_accepts_per_second: Rate = 1_000.0
    chatws_frames_per_second: Rate = 50.0
    chatws_bytes_per_second: Rate = 65_536.0
    chatws_sends_per_second: Rate = 10.0
    chatws_burst_seconds: Seconds = 5.0
    chatws_ephemeral_per_second: Limit = 50
    chatws_refusals_per_minute: Count = 60
    chatws_groups_per_connection: Limit = 1_000

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

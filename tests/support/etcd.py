"""Run a real etcd of one or more members on free ports of the loopback, and register services in it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import Handle, start
from tests.support.redis import free_port
from tools.etcd import find

SECONDS = 120.0
LEASE_SECONDS = 2
"""Like go-zero's lease but shorter: a killed service expires after it."""


class Member:
    """One etcd process, which can be killed and started again with its data."""

    def __init__(self, folder: Path, name: str, peers: dict[str, int], options: Sequence[str]) -> None:
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._name = name
        self._peers = peers
        self._options = options
        self._process: Handle | None = None

    def start(self) -> None:
        """Start it; `Etcd.wait` returns when it serves."""
        found = find()
        assert found is not None, "`make etcd` sees to one"
        scheme = "https" if "--cert-file" in self._options else "http"
        listens = f"http://127.0.0.1:{self._peers[self._name]}"
        cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in self._peers.items())
        command = [
            found[0], "--name", self._name, "--data-dir", str(self._folder / self._name),
            "--listen-client-urls", f"{scheme}://{self.endpoint}", "--advertise-client-urls", f"{scheme}://{self.endpoint}",
            "--listen-peer-urls", listens, "--initial-advertise-peer-urls", listens, "--initial-cluster", cluster,
            "--heartbeat-interval", "100", "--election-timeout", "1000", *self._options,
        ]  # fmt: skip
        self._process = start(command, self._folder / f"etcd-{self._name}.log", os.environ, self._folder)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Make it hang; it still accepts connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)


class Etcd:
    """A cluster of so many members. ``control``: options that `etcdctl` needs for it (user, TLS)."""

    def __init__(
        self, folder: Path, members: int = 1, options: Sequence[str] = (), control: Sequence[str] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        peers = {f"m{number}": free_port() for number in range(members)}
        self.members = [Member(folder, name, peers, options) for name in peers]
        self.control = list(control)
        self._scheme = "https" if "--cert-file" in options else "http"
        self._keeping: list[subprocess.Popen[bytes]] = []

    @property
    def endpoints(self) -> str:
        """Return the members' addresses, as an etcd address lists them."""
        return ",".join(member.endpoint for member in self.members)

    def start(self) -> None:
        """Start every member and return when they serve."""
        for member in self.members:
            member.start()
        self.wait()

    def wait(self) -> None:
        """Return once a write succeeds."""
        deadline = time.monotonic() + SECONDS
        while (done := self._run("put", "ready", "1")).returncode != 0:
            assert time.monotonic() < deadline, done.stderr.decode()

    def stop(self) -> None:
        for keeping in self._keeping:
            keeping.kill()
            keeping.wait()
        for member in self.members:
            member.kill()

    def ctl(self, *arguments: str) -> str:
        """Return the output of `etcdctl`; try again while a member hangs or no leader is elected."""
        deadline = time.monotonic() + SECONDS
        while (done := self._run(*arguments)).returncode != 0:
            passes = any(word in done.stderr for word in (b"deadline exceeded", b"leader", b"timed out"))
            assert passes, done.stderr.decode()
            assert time.monotonic() < deadline, done.stderr.decode()
        return done.stdout.decode()

    def register(self, key: str, address: str, seconds: int = LEASE_SECONDS) -> "Registration":
        """Register an instance as go-zero does, under a lease that is kept alive."""
        lease = self.ctl("lease", "grant", str(seconds)).split()[1]
        self.ctl("put", "--lease", lease, f"{key}/{int(lease, 16)}", address)
        keeping = subprocess.Popen(self._command("lease", "keep-alive", lease), stdout=subprocess.DEVNULL)
        self._keeping.append(keeping)
        return Registration(self, lease, keeping)

    def compact(self) -> None:
        """Compact the history: only the current revision remains."""
        revision = json.loads(self.ctl("get", "ready", "-w", "json"))["header"]["revision"]
        self.ctl("compact", str(revision))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self._command(*arguments), capture_output=True, timeout=SECONDS, env=_env())

    def _command(self, *arguments: str) -> list[str]:
        found = find()
        assert found is not None, "`make etcd` sees to one"
        endpoints = ",".join(f"{self._scheme}://{member.endpoint}" for member in self.members)
        return [found[1], "--endpoints", endpoints, "--command-timeout", "2s", *self.control, *arguments]


class Registration:
    """A registered instance."""

    def __init__(self, etcd: Etcd, lease: str, keeping: subprocess.Popen[bytes]) -> None:
        self._etcd = etcd
        self._lease = lease
        self._keeping = keeping

    def withdraw(self) -> None:
        """Withdraw the registration, as a service does when it stops."""
        self.lose()
        self._etcd.ctl("lease", "revoke", self._lease)

    def lose(self) -> None:
        """Stop keeping the lease alive, as after a kill: the registration expires later."""
        self._keeping.kill()
        self._keeping.wait()


def _env() -> dict[str, str]:
    return {**os.environ, "ETCDCTL_API": "3"}

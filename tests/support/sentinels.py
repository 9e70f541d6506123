"""Run a master with two replicas, and three sentinels that watch them, on the loopback."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.support.processes import Handle
from tests.support.redis import SECONDS, RedisServer, free_port, run

MASTER = "chat"
QUORUM = 2
SETTINGS = f"""
bind 127.0.0.1
sentinel monitor {MASTER} 127.0.0.1 {{master}} {QUORUM}
sentinel down-after-milliseconds {MASTER} 1000
sentinel failover-timeout {MASTER} 5000
"""


class Watched:
    """Three servers and their sentinels. ``url``: what `REDIS_URL` is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.servers = [RedisServer(self._folder_of("server-1"), 0, "--repl-diskless-sync-delay", "0")]
        first = self.servers[0].port
        for name in ("server-2", "server-3"):
            self.servers.append(RedisServer(self._folder_of(name), 0, "--replicaof", f"127.0.0.1 {first}"))
        self.sentinels: dict[int, Handle] = {}

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.sentinels)}/{MASTER}/0"

    def start(self) -> None:
        """Start all, and return when each sentinel knows the others and both replicas."""
        for server in self.servers:
            server.start()
        self._until(lambda: self._info(self.servers[0], "replication")["connected_slaves"] == 2)
        for number in range(3):
            folder, port = self._folder_of(f"sentinel-{number}"), free_port()
            (folder / "sentinel.conf").write_text(SETTINGS.format(master=self.servers[0].port) + f"port {port}\n")
            self.sentinels[port] = run([str(folder / "sentinel.conf"), "--sentinel"], port, folder)
        self._until(lambda: all(self._is_complete(port) for port in self.sentinels))

    def stop(self) -> None:
        for sentinel in self.sentinels.values():
            sentinel.kill()
            sentinel.wait()
        for server in self.servers:
            server.kill()

    @property
    def master(self) -> RedisServer:
        """The server that the first sentinel calls the master."""
        with self._sentinel(next(iter(self.sentinels))) as sentinel:
            _, port = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return next(server for server in self.servers if server.port == int(port))

    def wait_for_replicas(self) -> None:
        """Return when both replicas have all that the master has acknowledged."""
        with redis.Redis(port=self.master.port) as client:
            client.set("written", "last")
            assert client.wait(2, int(SECONDS * 1000)) == 2

    def cut_replicas_off(self) -> None:
        """Let the replicas receive nothing more of this master: until `kill_master` they do not run."""
        self._signal(signal.SIGSTOP)
        with redis.Redis(port=self.master.port) as client:
            client.client_kill_filter(_type="replica")  # else the rest would wait for them in their sockets

    def kill_master(self) -> RedisServer:
        """End the master at once, return when there is another one; return the former."""
        former = self.master
        former.kill()
        self._signal(signal.SIGCONT)
        self._until(lambda: self.master is not former)
        return former

    def switch(self) -> RedisServer:
        """Let the sentinels make another server the master while the former one runs; return the former."""
        former = self.master
        with self._sentinel(next(iter(self.sentinels))) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", MASTER)
        self._until(lambda: self.master is not former)
        return former

    def until_replica(self, server: RedisServer) -> None:
        """Return when a server follows the master."""

        def follows() -> bool:
            info = self._info(server, "replication")
            return bool(info["role"] == "slave" and info["master_link_status"] == "up")

        self._until(follows)

    def _signal(self, number: int) -> None:
        master = self.master
        for server in self.servers:
            if server is not master and server.process is not None:
                server.process.send_signal(number)

    def _is_complete(self, port: int) -> bool:
        with self._sentinel(port) as sentinel:
            answer: Any = sentinel.execute_command("SENTINEL", "MASTER", MASTER)
        known = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        state = {_text(name): _text(value) for name, value in known.items()}
        return (state["num-other-sentinels"], state["num-slaves"]) == ("2", "2")

    @staticmethod
    @contextmanager
    def _sentinel(port: int) -> Iterator[Any]:
        with redis.Redis(port=port) as client:
            yield client

    @staticmethod
    def _info(server: RedisServer, section: str) -> Any:
        with redis.Redis(port=server.port) as client:
            return client.info(section)

    @staticmethod
    def _until(holds: Any) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < deadline, "the sentinels did not agree"
            time.sleep(0.05)

    def _folder_of(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""Run the whole chat as real processes on free ports of the loopback: Valkey, chat service, relays, gateways."""

import itertools
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import grpc
import redis

from config.env import BASE_DIR
from tests.support import database, processes
from tests.support.chat import Chat
from tests.support.redis import RedisServer, free_port

START_SECONDS = 120
CONNECTS_OFTEN = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.min_reconnect_backoff_ms", 20)]
"""Reconnect soon, instead of a second after the first refused connection."""
SERVERS = {
    "ours": ["-m", "realtime.server", "--bind"],
    "daphne": ["-m", "daphne", "-v", "0", "--websocket_timeout", "-1", "--bind"],
    "uvicorn": [
        "-m", "uvicorn", "--ws", "websockets-sansio", "--ws-max-size", "65536", "--ws-per-message-deflate", "false",
        "--no-proxy-headers", "--host",
    ],
}  # fmt: skip
"""The commands of the ASGI servers without their address."""


class Process:
    """A process of the stack with its output in a file."""

    def __init__(
        self, name: str, command: list[str], env: Mapping[str, str], log: Path, code: Path = BASE_DIR,
        forks: bool | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.log = log
        self.handle = processes.start(command, log, env, code, forks)

    @property
    def kind(self) -> str:
        """Return its kind: its name without the number."""
        return self.name.rpartition("-")[0]

    @property
    def pid(self) -> int:
        return self.handle.pid

    @property
    def running(self) -> bool:
        return self.handle.poll() is None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.handle.kill()
        self.handle.wait()

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end and return the exit status."""
        return self.handle.wait(timeout=seconds)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 120) -> int:
        """Ask it to end and return its exit status."""
        self.handle.send_signal(number)
        return self.handle.wait(timeout=seconds)

    def pause(self) -> None:
        self.handle.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.handle.send_signal(signal.SIGCONT)


class Gateway(Process):
    """A gateway process at ``http``/``ws``."""

    def __init__(
        self, name: str, port: int, command: list[str], env: Mapping[str, str], log: Path, code: Path = BASE_DIR,
        forks: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, command, env, log, code, forks)
        self.port = port
        self.http = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}/ws"


class Stack:
    """The processes of a chat: a test starts those it needs, in any number; `stop` ends them all."""

    server = "ours"
    """The ASGI server of the gateways; `pytest --server` sets it."""
    code = BASE_DIR
    """The folder of the release whose processes are started from now on."""
    forks: bool | None = None
    """Whether the zygote forks its Python processes; None: as `ByZygote.forks`."""
    living: "list[Stack]" = []
    """Every stack that has not been stopped."""
    recent: "list[Stack]" = []
    """The stacks that the current test may have used, stopped or not."""
    shared: "Stack | None" = None
    """The stack that many tests use."""

    redis_port = 0
    """The port of its Redis; 0: any free port."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.redis = RedisServer(folder, self.redis_port)
        self.rpc_port = free_port()
        self.rpc_target = f"127.0.0.1:{self.rpc_port}"
        self.processes: list[Process] = []
        self._numbers = itertools.count()
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DJANGO_SETTINGS_MODULE": "config.settings.test",
            "PYTHONUNBUFFERED": "1",
            "CHATWS_DATA_DIR": str(folder),
            "REDIS_URL": self.redis.url,
            "CHATWS_RPC_PORT": str(self.rpc_port),
            "PYTHONFAULTHANDLER": "1",
            "DATABASE_URL": database.fresh_database(),
            **env,
        }
        Stack.living.append(self)
        Stack.recent.append(self)

    @property
    def gateway(self) -> "Gateway":
        """Return the first gateway."""
        return next(process for process in self.processes if isinstance(process, Gateway))

    def start(self) -> Gateway:
        """Start all parts: Valkey, database with the demo, chat service, one relay, one gateway."""
        self.redis.start()
        self.migrate(demo=True)
        self.start_rpc()
        self.start_relay()
        gateway = self.start_gateway()
        self.wait_until_relaying()
        return gateway

    def chat(self) -> Chat:
        """Return a client of the chat service."""
        return Chat(self.rpc_target)

    def migrate(self, *, demo: bool = False) -> None:
        """Create the tables, empty or with the demo's users and chat groups, as a copy of the first stack's."""
        if self.code == BASE_DIR and database.copy_template(self.env["DATABASE_URL"], self.folder, demo=demo):
            return
        self.manage("migrate", "--verbosity", "0")
        if demo:
            self.manage("seed_demo")
        if self.code == BASE_DIR:
            database.keep_template(self.env["DATABASE_URL"], self.folder, demo=demo)

    def manage(self, *arguments: str, **env: str) -> str:
        """Run a management command, which must succeed, and return its output."""
        log = self.folder / f"manage-{arguments[0]}-{next(self._numbers)}.log"
        process = Process(
            arguments[0], [sys.executable, "manage.py", *arguments], {**self.env, **env}, log, self.code, self.forks
        )
        status = process.wait()
        assert status == 0, log.read_text()
        return log.read_text()

    def listen_for_rpc(self, port: int) -> None:
        """Choose the address of the next chat service."""
        self.rpc_port, self.rpc_target = port, f"127.0.0.1:{port}"
        self.env["CHATWS_RPC_PORT"] = str(port)

    def service_command(self) -> list[str]:
        """Return the Python arguments that run the chat service."""
        return ["manage.py", "serve_chat_rpc"]

    def start_rpc(self, *options: str) -> Process:
        process = self._start("rpc", [sys.executable, *self.service_command(), *options])
        with grpc.insecure_channel(self.rpc_target, options=CONNECTS_OFTEN) as channel:
            # `channel_ready_future` would leave a thread that raises if the channel is closed too soon.
            try:
                call: Any = channel.unary_unary("/chatws/Ready")
                call(b"", wait_for_ready=True, timeout=START_SECONDS)
            except grpc.RpcError as error:  # the service has no such method, but it answers
                assert error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error
        return process

    def start_relay(self, *options: str, **env: str) -> Process:
        return self._start("relay", [sys.executable, "manage.py", "relay_stream", *options], **env)

    def start_gateway(
        self, *options: str, server: Sequence[str] = (), port: int | None = None, probe: str = "", **env: str
    ) -> Gateway:
        """Start a gateway and return once its probe succeeds.

        ``server``: another command, without address and port. ``probe``: another path than that of a start-up probe.
        """
        port = port or free_port()
        command = [sys.executable, *(server or SERVERS[self.server]), "127.0.0.1", "--port", str(port)]
        command += [*options, "config.asgi:application"]
        number = next(self._numbers)
        log = self.folder / f"gateway-{number}.log"
        gateway = Gateway(
            f"gateway-{number}", port, command, {**self.env, "PORT": str(port), **env}, log, self.code, self.forks
        )
        self.processes.append(gateway)
        self.wait_until_ready(gateway, probe)
        return gateway

    def wait_until_ready(self, gateway: Gateway, probe: str = "") -> None:
        probe = probe or ("startup" if self.code == BASE_DIR else "ready")  # earlier releases have no /startup
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{gateway.http}/{probe}", timeout=5):
                    return
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                if time.monotonic() > deadline or not gateway.running:
                    raise AssertionError(gateway.log.read_text()) from None
                time.sleep(0.05)

    def wait_until_relaying(self) -> None:
        """Wait until the relay has every topic: only entries published after that are sure to be relayed."""
        deadline = time.monotonic() + START_SECONDS
        while sum(log.read_text().count("relaying from") for log in self.folder.glob("relay-*.log")) < 6:
            assert time.monotonic() < deadline, "the relay did not begin"
            time.sleep(0.05)

    def add_entry(self, topic: str, payload: Mapping[str, object]) -> None:
        """Publish an entry, as another service does."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.xadd(topic, {"payload": json.dumps(payload)})

    def lose_log(self, feed: str) -> None:
        """Replace a feed's log by a new one, and break the subscriptions so that the gateways check at once."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.delete(f"chatws:{{{feed}}}:meta", f"chatws:{{{feed}}}:log")
        self.break_subscriptions()

    def break_subscriptions(self) -> None:
        """Close the connections on which the channel layer receives."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.client_kill_filter(_type="pubsub")

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement in the database; its placeholders are ``%s``."""
        return database.query(self.env["DATABASE_URL"], self.folder, sql, *values)

    def database_connections(self, process: Process) -> int:
        """Return the number of database connections: on SQLite this process's, on PostgreSQL the whole chat's."""
        if self.env["DATABASE_URL"]:
            [(count,)] = self.query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(count)
        count = 0
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                count += os.readlink(link) == str(self.folder / "db.sqlite3")
        return count

    def group_locked(self, group_id: str) -> AbstractContextManager[None]:
        """Keep the chat service from saving in a chat group."""
        return database.group_locked(self.env["DATABASE_URL"], self.folder, group_id)

    def remove_silently(self, group_id: str, user_id: int) -> None:
        """Take a member out of a chat group without an event."""
        self.query("DELETE FROM reference_member WHERE group_id = %s AND user_id = %s", group_id, user_id)

    def add_silently(self, group_id: str, user_id: int) -> None:
        """Put a member into a chat group without an event."""
        insert = "INSERT INTO reference_member (group_id, user_id, role, joined_at) VALUES (%s, %s, 1, 1)"
        self.query(insert, group_id, user_id)

    def disband_silently(self, group_id: str) -> None:
        """Disband a chat group without an event."""
        self.query("UPDATE reference_chatgroup SET status = 2 WHERE group_id = %s", group_id)

    def recall(self, message_id: str) -> None:
        """Recall a message, as a moderator would in the database."""
        self.query("UPDATE reference_message SET status = 2 WHERE message_id = %s", message_id)

    def demo_users(self) -> dict[str, int]:
        """Return the ids of the demo's users by name."""
        return {name: int(user_id) for name, user_id in self.query("SELECT username, id FROM auth_user")}

    def fill(self, group_id: str, sender_id: int, count: int) -> None:
        """Store so many messages in a chat group, a minute apart, without an event."""
        began = int(time.time()) - 60 * count
        columns = "message_id, group_id, sender_id, msg_type, content, image_url, status, created_at"
        for start in range(0, count, 500):
            rows = [
                (f"{group_id}-{n}", group_id, sender_id, f"filled {n}", began + 60 * n)
                for n in range(start, min(start + 500, count))
            ]
            places = ", ".join(["(%s, %s, %s, 1, %s, '', 1, %s)"] * len(rows))
            values = [value for row in rows for value in row]
            self.query(f"INSERT INTO reference_message ({columns}) VALUES {places}", *values)

    def stop(self) -> None:
        """End everything that was started."""
        for process in self.processes:
            if process.running:
                process.kill()
        self.redis.kill()
        if self in Stack.living:
            Stack.living.remove(self)

    def _start(self, name: str, command: list[str], **env: str) -> Process:
        name = f"{name}-{next(self._numbers)}"
        process = Process(name, command, {**self.env, **env}, self.folder / f"{name}.log", self.code, self.forks)
        self.processes.append(process)
        return process

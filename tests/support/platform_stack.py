"""Run the whole chat beside the Go platform: its twin, or the platform itself."""

import sys
from pathlib import Path

from tests.support.chat import Chat, PlatformChat
from tests.support.etcd import Etcd, Registration
from tests.support.real import real
from tests.support.redis import free_port
from tests.support.stack import Gateway, Process, Stack

ASKS_OFTEN = {"CHATWS_MEMBERSHIP_SECONDS": "5"}
"""If a service dies between a change of members and its event, only another lookup finds the change."""
PLATFORM_LEASE_SECONDS = 10
"""go-zero's lease: a service that did not withdraw is found for so long."""


class PlatformStack(Stack):
    """A stack with the twin of the Go platform, discovered by etcd: gateways publish messages and look up names."""

    def __init__(self, folder: Path, **env: str) -> None:
        super().__init__(folder, **env)
        self.user_port = free_port()
        self.etcd = Etcd(folder / "etcd")
        self.env |= platform_settings(self.etcd.endpoints) | env
        self._registrations: list[Registration] = []

    def start(self) -> Gateway:
        self.etcd.start()
        return super().start()

    def chat(self) -> Chat:
        return PlatformChat(lambda: self.rpc_target, self.redis.url)

    @property
    def user_target(self) -> str:
        return f"127.0.0.1:{self.user_port}"

    def move_rpc(self) -> Process:
        """Start another twin at other ports, which takes over; the caller stops the twin before it."""
        self.listen_for_rpc(free_port())
        self.user_port = free_port()
        before, self._registrations = self._registrations, []
        process = self.start_rpc()
        for registration in before:
            registration.withdraw()
        return process

    def start_rpc(self, *options: str) -> Process:
        """Start the twin and register its address; earlier registrations expire."""
        process = super().start_rpc(*options)
        for registration in self._registrations:
            registration.lose()
        self._registrations = [
            self.etcd.register(key, f"127.0.0.1:{port}", PLATFORM_LEASE_SECONDS)
            for key, port in (("chat.rpc", self.rpc_port), ("user.rpc", self.user_port))
        ]
        return process

    def service_command(self) -> list[str]:
        return twin_command(self.rpc_port, self.user_port, self.folder / "twin.sqlite3", self.redis.url)

    def stop(self) -> None:
        super().stop()
        self.etcd.stop()


class RealStack(Stack):
    """A stack beside the Go platform itself, at the address in `CHATWS_TEST_PLATFORM`."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.real = real()
        self.redis_port = self.real.redis_port
        super().__init__(folder, **platform_settings(self.real.etcd) | ASKS_OFTEN | env)

    def start_rpc(self, *options: str) -> Process:
        """Start nothing: the platform's service runs already."""
        return self._start("rpc", [sys.executable, "-c", ""])

    def chat(self) -> Chat:
        return PlatformChat(self.real.chat_service, self.redis.url)


def platform_settings(etcd: str) -> dict[str, str]:
    """Return the settings of a gateway beside the Go platform, whose services register at these endpoints."""
    return {
        "CHATWS_RPC_TARGET": f"etcd://{etcd}/chat.rpc",
        "CHATWS_USER_RPC_TARGET": f"etcd://{etcd}/user.rpc",
        "CHATWS_MESSAGE_PUBLISHER": "gateway",
    }


def twin_command(port: int, user_port: int, database: Path, redis_url: str) -> list[str]:
    """Return the Python arguments that run the twin of the Go platform."""
    options = {"port": port, "user-port": user_port, "database": database, "redis": redis_url}
    return [
        "-m",
        "tests.support.twin",
        *(str(part) for name, value in options.items() for part in (f"--{name}", value)),
    ]

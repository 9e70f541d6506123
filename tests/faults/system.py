"""Run the whole chat as a small cluster for faults: Redis, and two each of chat services, relays and gateways."""

import asyncio
import os
import random
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import redis.asyncio as aioredis

from tests.support.chat import Chat, PlatformChat
from tests.support.etcd import Etcd, Registration
from tests.support.platform_stack import ASKS_OFTEN, PLATFORM_LEASE_SECONDS, platform_settings, twin_command
from tests.support.proxy import Proxy
from tests.support.real import real
from tests.support.redis import free_port
from tests.support.stack import SERVERS, Gateway, Process, Stack

RECOVERY_SECONDS = 120
SHIM = Path(__file__).with_name("shim")


class System(Stack):
    """Two of each service and one Redis. A killed process starts again at the same address, as under a supervisor."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.rpc_ports = [free_port(), free_port()]
        settings = {
            "CHATWS_RPC_TARGET": ",".join(f"127.0.0.1:{port}" for port in self.rpc_ports),
            "CHATWS_OWN_TOPICS": "1",
            "CHATWS_START_TIMEOUT": str(RECOVERY_SECONDS),
            "CHATWS_PRESENCE_LEASE": "5",
            "CHATWS_SENDS_PER_SECOND": "0",
            "PYTHONPATH": str(SHIM),
        }
        super().__init__(folder, **settings | env)
        self.gateway_ports = [free_port(), free_port()]
        self.gateways: list[Process] = []
        self.relays: list[Process] = []
        self.rpcs: list[Process] = []
        self.takeovers: list[float] = []
        self._starts = 0

    async def boot(self) -> None:
        """Start all processes."""
        self.redis.start()
        await asyncio.to_thread(self.migrate)
        self.rpcs = [self.start_one("rpc", number) for number in (0, 1)]
        self.relays = [self.start_one("relay", number) for number in (0, 1)]
        self.gateways = [self.start_one("gateway", number) for number in (0, 1)]
        for gateway in self.gateways:
            await self.ready(gateway)
        await self.until(lambda: self._relaying() >= 6, "the relays did not begin")

    def start_one(self, kind: str, number: int) -> Process:
        """Start the process of a kind and a number; its clock can be set back by `set_clock_back`."""
        self._starts += 1
        name = f"{kind}-{number}"
        env = {**self.env, "FAULTS_CLOCK_FILE": str(self.folder / f"clock-{name}")}
        python = sys.executable
        log = self.folder / f"{name}.log"
        if kind == "gateway":
            port = self.gateway_ports[number]
            command = [python, *SERVERS[self.server], "127.0.0.1", "--port", str(port), "config.asgi:application"]
            process: Process = Gateway(name, port, command, {**env, "PORT": str(port)}, log)
        elif kind == "relay":
            process = Process(name, [python, "manage.py", "relay_stream"], env, log)
        else:
            env["CHATWS_RPC_PORT"] = str(self.rpc_ports[number])
            process = Process(name, [python, *self.chat_service_command(number)], env, log)
        self.processes.append(process)
        return process

    def chat_service_command(self, number: int) -> list[str]:
        """Return the Python arguments that run a chat service."""
        return ["manage.py", "serve_chat_rpc"]

    async def restart(self, family: list[Process], number: int) -> None:
        """Start a killed process again and wait until it serves."""
        kind = family[number].name.partition("-")[0]
        self.processes.remove(family[number])
        family[number] = self.start_one(kind, number)
        await self.ready(family[number])
        if kind == "rpc":
            await asyncio.to_thread(self.register, number)

    def register(self, number: int) -> None:
        """Register a chat service at its current address."""

    async def ready(self, process: Process) -> None:
        """Return once a process works."""
        kind, _, number = process.name.partition("-")
        port = {"gateway": self.gateway_ports, "rpc": self.rpc_ports}.get(kind)
        if port is not None:
            await self.until(lambda: _listens(port[int(number)]), f"{process.name} does not listen", process)
        if kind == "gateway":
            await self.until(
                lambda: _answers(port[int(number)] if port else 0), f"{process.name} is not ready", process
            )

    async def until(self, condition: Callable[[], bool], problem: str, process: Process | None = None) -> None:
        """Return once a condition holds."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while not await asyncio.to_thread(condition):
            if process is not None and not process.running:
                raise AssertionError(f"{problem}: {process.log.read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(problem)
            await asyncio.sleep(0.05)

    def set_clock_back(self, process: Process, seconds: int) -> None:
        """Set back ``time.time`` of one process by so many seconds; 0 restores it."""
        clock = self.folder / f"clock-{process.name}"
        if seconds:
            clock.touch()
            os.truncate(clock, seconds)
        else:
            clock.unlink(missing_ok=True)

    async def holder(self, topic: str = "chat.message.new") -> str:
        """Return the relay that holds a topic."""
        async with aioredis.Redis.from_url(self.redis.url, decode_responses=True) as client:
            return str(await client.get(f"chatws:{{{topic}}}:lease") or "")

    async def active_relay(self) -> int:
        """Return the number of the relay that holds the messages' topic, once one does."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < deadline:
            holder = await self.holder()
            for number, relay in enumerate(self.relays):
                if holder and self.name_of(relay) == holder:
                    return number
            await asyncio.sleep(0.05)
        raise AssertionError("no relay is active")

    def name_of(self, relay: Process) -> str:
        """Return a relay's name."""
        words = relay.log.read_text().rpartition("this is relay ")[2].split()
        return words[0] if words else ""

    def _relaying(self) -> int:
        return sum(relay.log.read_text().count("relaying from") for relay in self.relays)

    async def network(self, rng: random.Random) -> Proxy:
        """Return a reader's proxy to both gateways."""
        ports = list(self.gateway_ports)
        rng.shuffle(ports)
        return await Proxy(*ports).__aenter__()

    def chat(self) -> Chat:
        return Chat(self.chat_services)

    @property
    def chat_services(self) -> str:
        """Return all chat services as a gRPC target."""
        return "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in self.rpc_ports)

    def stop(self) -> None:
        for process in self.processes:
            process.go_on()
        if self.redis.process is not None:
            self.redis.process.send_signal(signal.SIGCONT)
        super().stop()


class TwinSystem(System):
    """A system with two of the platform's twins on one database, registered in a real etcd; the gateways publish."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.etcd = Etcd(folder / "etcd")
        self.user_ports = [free_port(), free_port()]
        self.database = folder / "twin.sqlite3"
        self._registered: dict[int, list[Registration]] = {}
        super().__init__(folder, **platform_settings(self.etcd.endpoints) | ASKS_OFTEN | env)

    async def boot(self) -> None:
        await asyncio.to_thread(self.etcd.start)
        for number in (0, 1):
            await asyncio.to_thread(self.register, number)
        await super().boot()

    def register(self, number: int) -> None:
        for registration in self._registered.get(number, ()):
            registration.lose()
        self._registered[number] = [
            self.etcd.register(key, f"127.0.0.1:{ports[number]}", PLATFORM_LEASE_SECONDS)
            for key, ports in (("chat.rpc", self.rpc_ports), ("user.rpc", self.user_ports))
        ]

    def chat_service_command(self, number: int) -> list[str]:
        return twin_command(self.rpc_ports[number], self.user_ports[number], self.database, self.redis.url)

    def chat(self) -> Chat:
        return PlatformChat(lambda: self.chat_services, self.redis.url)

    def stop(self) -> None:
        super().stop()
        self.etcd.members[0].go_on()
        self.etcd.stop()


class RealSystem(System):
    """A system beside the Go platform itself, whose services are started and broken outside the tests."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.real = real()
        self.redis_port = self.real.redis_port
        super().__init__(folder, **platform_settings(self.real.etcd) | ASKS_OFTEN | env)

    def start_one(self, kind: str, number: int) -> Process:
        if kind == "rpc":
            return Process(f"rpc-{number}", [sys.executable, "-c", ""], self.env, self.folder / "nothing.log")
        return super().start_one(kind, number)

    def chat(self) -> Chat:
        return PlatformChat(self.real.chat_service, self.redis.url)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/startup", timeout=2):
            return True
    except OSError:
        return False

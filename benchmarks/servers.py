"""Start the compared servers: ours on three ASGI servers, and the peers. Each sends one text to all its members."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from benchmarks.machine import Bench, Process
from config.env import BASE_DIR
from realtime.conf import RealtimeConf
from realtime.feeds.log import FeedLog
from realtime.feeds.publication import Publication
from realtime.layers.redis_pubsub import RedisPubSubLayer
from realtime.relay.publisher import Publisher, Routed
from tests.support.client import make_token
from tests.support.redis import connect, free_port

PEERS = BASE_DIR / "benchmarks" / "peers"
NODE_MODULES = BASE_DIR / ".data" / "bench"
SIZE = 300
"""Approximate bytes of a frame that members receive."""
TOKEN_SECONDS = 7_200
LONG_AGO = 1_000_000


def text_of(size: int = SIZE) -> str:
    """Return a text that holds the time of its creation."""
    return f"bench t={time.monotonic_ns()} ".ljust(size, "x")


class Server(Protocol):
    """A server under test."""

    name: str
    port: int
    path: str
    process: Process

    @property
    def ready(self) -> str | None:
        """Return a part of the frame that makes a connection ready; None: it is ready once open."""

    def first(self, users: Sequence[int]) -> list[str]:
        """Return the first frame of each connection, or none."""

    async def publish(self, texts: int, feed: str = "") -> None:
        """Publish so many texts to all members of the feed."""

    async def close(self) -> None:
        """Close what was opened here."""


NO_LIMITS = {
    f"CHATWS_{name}": "0"
    for name in (
        "MAX_CONNECTIONS", "CONNECTIONS_PER_ADDRESS", "CONNECTIONS_PER_USER", "ACCEPTS_PER_SECOND",
        "ACCEPTS_PER_ADDRESS", "FRAMES_PER_SECOND", "BYTES_PER_SECOND", "SENDS_PER_SECOND",
    )
}  # fmt: skip
"""No limits: a load generator has one address, and its clients are faster than any real ones."""


SECRET_KEY = secrets.token_urlsafe(48)


def production(bench: Bench, chat_service: str, log_level: str = "WARNING") -> dict[str, str]:
    """Return production settings without limits; under DEBUG, Django would record each statement."""
    return {
        **NO_LIMITS,
        "DJANGO_SETTINGS_MODULE": "config.settings.production", "CHATWS_ALLOWED_HOSTS": "127.0.0.1",
        "DATABASE_URL": f"sqlite:///{bench.folder / 'db.sqlite3'}", "REDIS_URL": bench.redis_url,
        "CHATWS_RPC_TARGET": chat_service, "CHATWS_DATA_DIR": str(bench.folder), "CHATWS_LOG_LEVEL": log_level,
        "DJANGO_SECRET_KEY": SECRET_KEY,
    }  # fmt: skip


class Ours:
    """Our gateway, with the counting chat service."""

    path = "/ws"
    ready = "auth_success"
    commands: ClassVar[dict[str, list[str]]] = {
        "ours": ["-m", "realtime.server", "--bind", "127.0.0.1", "--port"],
        "ours on plain daphne": ["-m", "daphne", "-v", "0", "--bind", "127.0.0.1", "--port"],
        "ours on uvicorn": ["-m", "uvicorn", "--log-level", "warning", "--ws", "websockets-sansio", "--port"],
    }

    def __init__(
        self, bench: Bench, name: str = "ours", *, each: int = 1, feeds: int = 1, many: int = 0,
        publishes: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.port = free_port()
        rpc = free_port()
        many_of = ["--many", str(LONG_AGO), str(many)] if many else []
        bench.start(
            "chat", [sys.executable, "-m", "benchmarks.chat_service", str(rpc), "--feeds", str(feeds),
                     "--each", str(each), *many_of],
        )  # fmt: skip
        self.env = production(bench, f"127.0.0.1:{rpc}")
        if publishes:
            self.env["CHATWS_MESSAGE_PUBLISHER"] = "gateway"
        if not (bench.folder / "db.sqlite3").exists():
            migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(migrate, cwd=BASE_DIR, env={**os.environ, **self.env}, check=True, timeout=60)
        command = [sys.executable, *self.commands[name], str(self.port), "config.asgi:application"]
        self.process = bench.start("gateway", command, env=self.env, is_server=True)
        self.process.wait_for(f"http://127.0.0.1:{self.port}/ready")
        conf = RealtimeConf(redis_url=bench.redis_url, jwt_secret="")
        self.redis = connect(bench.redis_url)
        self._layer = RedisPubSubLayer(hosts=[bench.redis_url], prefix="chatws:layer")
        self._publisher = Publisher(FeedLog(self.redis, conf), self._layer)
        self._count = 0

    def first(self, users: Sequence[int]) -> list[str]:
        return [
            f'{{"type":"auth","message_id":"a","data":{{"token":"{make_token(user, TOKEN_SECONDS)}"}}}}'
            for user in users
        ]

    async def publish(self, texts: int, feed: str = "group:g0") -> None:
        await self.publish_to([feed] * texts)

    async def publish_to(self, feeds: Sequence[str]) -> None:
        """Publish one text to each of these feeds, as the relay publishes a batch."""
        routed = []
        for feed in feeds:
            self._count += 1
            payload = f'{{"type":"new_message","data":{{"content":"{text_of(SIZE - 130)}"}}}}'.encode()
            routed.append(Routed(f"{self._count}-0", feed, Publication(f"p{self._count}", payload)))
        await self._publisher.publish("bench", routed)

    async def close(self) -> None:
        await self._layer.flush()
        await self.redis.aclose()


class Tutorial:
    """The room of the Channels tutorial on daphne; ``name`` is the channel layer."""

    path = "/ws"
    ready = None
    layers: ClassVar[dict[str, Any]] = {
        "tutorial, core layer": RedisChannelLayer,
        "tutorial, pub/sub layer": RedisPubSubChannelLayer,
    }

    def __init__(self, bench: Bench, name: str) -> None:
        self.name = name
        self.port = free_port()
        layer = self.layers[name]
        command = [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(self.port)]
        env = {"BENCH_LAYER": f"{layer.__module__}.{layer.__qualname__}", "REDIS_URL": bench.redis_url}
        self.process = bench.start(
            "tutorial", [*command, "benchmarks.peers.tutorial:application"], env=env, is_server=True
        )
        self.process.wait_for(f"http://127.0.0.1:{self.port}/", lambda status: status == 404)
        self._layer = layer(hosts=[bench.redis_url])

    def first(self, users: Sequence[int]) -> list[str]:
        return []

    async def publish(self, texts: int, feed: str = "") -> None:
        for _ in range(texts):
            await self._layer.group_send("room", {"type": "room.message", "text": text_of()})

    async def close(self) -> None:
        await self._layer.flush()


class NodeWs:
    """A room on Node's `ws`."""

    name = "Node ws"
    path = "/"
    ready = None

    def __init__(self, bench: Bench) -> None:
        self.port = free_port()
        env = {"PORT": str(self.port), "REDIS_URL": bench.redis_url, "NODE_PATH": str(NODE_MODULES / "node_modules")}
        self.process = bench.start(
            "node", ["node", "--preserve-symlinks-main", str(NODE_MODULES / "node_ws.js")], env=env, is_server=True
        )
        self.process.wait_for(f"http://127.0.0.1:{self.port}/")
        self._redis = connect(bench.redis_url)

    @staticmethod
    def install() -> str:
        """Return why it is not available, or ``""``."""
        if not shutil.which("node") or not shutil.which("npm"):
            return "there is no node here"
        NODE_MODULES.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", "node_ws.js"):
            shutil.copy(PEERS / name, NODE_MODULES)
        done = subprocess.run(["npm", "ci", "--silent"], cwd=NODE_MODULES, capture_output=True, text=True)
        return done.stderr.strip()[-200:] if done.returncode else ""

    def first(self, users: Sequence[int]) -> list[str]:
        return []

    async def publish(self, texts: int, feed: str = "") -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for _ in range(texts):
            pipeline.publish("room", text_of())
        await pipeline.execute()

    async def close(self) -> None:
        await self._redis.aclose()


class Nchan:
    """nchan in nginx, which publishes over HTTP."""

    name = "nchan"
    path = "/sub"
    ready = None
    module: ClassVar[Path] = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

    def __init__(self, bench: Bench) -> None:
        self.port = free_port()
        conf = bench.folder / "nginx.conf"
        conf.write_text(
            f"load_module {self.module};\n"
            f"daemon off; master_process off; worker_processes 1; pid {bench.folder}/nginx.pid;\n"
            f"error_log {bench.folder}/nginx-error.log; worker_rlimit_nofile 60000;\n"
            "events { worker_connections 30000; }\n"
            "http { access_log off; nchan_shared_memory_size 128m;\n"
            f"  client_body_temp_path {bench.folder}/body; proxy_temp_path {bench.folder}/proxy;\n"
            f"  fastcgi_temp_path {bench.folder}/fastcgi; uwsgi_temp_path {bench.folder}/uwsgi;\n"
            f"  scgi_temp_path {bench.folder}/scgi;\n"
            f"  server {{ listen 127.0.0.1:{self.port};\n"
            "    location = /sub { nchan_subscriber websocket; nchan_channel_id room;"
            " nchan_subscriber_first_message newest; }\n"
            "    location = /pub { nchan_publisher; nchan_channel_id room; nchan_message_buffer_length 200; }\n"
            "    location = / { return 200; } } }\n"
        )
        self.process = bench.start("nginx", ["nginx", "-c", str(conf), "-p", str(bench.folder)], is_server=True)
        self.process.wait_for(f"http://127.0.0.1:{self.port}/")
        self._opened: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @classmethod
    def install(cls) -> str:
        """Return why it is not available, or ``""``."""
        return "" if shutil.which("nginx") and cls.module.exists() else "nginx with nchan isn't installed"

    def first(self, users: Sequence[int]) -> list[str]:
        return []

    async def publish(self, texts: int, feed: str = "") -> None:
        if self._opened is None:
            self._opened = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._opened
        for _ in range(texts):
            writer.write(f"POST /pub HTTP/1.1\r\nHost: b\r\nContent-Length: {SIZE}\r\n\r\n{text_of()}".encode())
        for _ in range(texts):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if b"content-length" in line
            )
            await reader.readexactly(length)

    async def close(self) -> None:
        if self._opened is not None:
            self._opened[1].close()


def versions() -> dict[str, str]:
    """Return the versions of the peers."""
    found = {"python": sys.version.split()[0]}
    for name, command in (("node", ["node", "--version"]), ("nginx", ["nginx", "-v"])):
        if shutil.which(name):
            done = subprocess.run(command, capture_output=True, text=True)
            found[name] = (done.stdout + done.stderr).strip().rpartition("/")[2].lstrip("v")
    found["cores"] = str(os.cpu_count())
    return found

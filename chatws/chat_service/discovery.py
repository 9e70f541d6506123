"""Instances of a service as they register in etcd: go-zero writes each under ``<key>/<lease id>`` as ``host:port``.

Imported only where an address says ``etcd://``.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import grpc
from django.core.exceptions import ImproperlyConfigured

from chatws.chat_service.pb import etcd_pb2 as pb
from chatws.chat_service.pb.etcd_pb2_grpc import AuthStub, KVStub, WatchStub
from realtime.aio import tasks

logger = logging.getLogger(__name__)

SCHEME = "etcd"
ANSWER_SECONDS = 3.0
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
STEADY_SECONDS = 30.0
"""A watch that stood for so long was a good one: the next wait is short again."""
OPTIONS: list[tuple[str, str | int]] = [
    # A watch may be silent for hours: pings tell a dead connection. etcd allows one every 5 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
HAS_LEADER = ("hasleader", "true")
"""With it a member that lost its cluster ends the watch, instead of keeping silent."""
TLS_FILES = "tls_ca", "tls_cert", "tls_key"


@dataclass(frozen=True, slots=True)
class EtcdAddress:
    """Where a service's instances register."""

    endpoints: tuple[str, ...]
    key: str
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    tls_files: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{SCHEME}://{','.join(self.endpoints)}/{self.key}"


def parse(setting: str, address: str) -> EtcdAddress:
    """Read ``etcd://host:port,host:port/<key>?user=…&password=…&tls=1&tls_ca=…&tls_cert=…&tls_key=…``.

    Raises:
        ImproperlyConfigured: the message names ``setting`` and what is wrong, and holds no password.
    """
    parts = urlsplit(address)
    endpoints = tuple(part.strip() for part in parts.netloc.split(",") if part.strip())
    if parts.scheme != SCHEME or not endpoints:
        raise ImproperlyConfigured(f"{setting}: not etcd://host:port,host:port/<key>")
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        if "@" in endpoint:
            raise ImproperlyConfigured(f"{setting}: user and password are written ?user=…&password=…")
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ImproperlyConfigured(f"{setting}: {endpoint!r} is not host:port")
    key = unquote(parts.path).strip("/")
    if not key:
        raise ImproperlyConfigured(f"{setting}: no key after the last port, as in etcd://host:2379/chat.rpc")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = "user", "password", "tls", *TLS_FILES
    for number, name in enumerate(given, 1):
        if name not in known:  # and isn't shown: it may be what follows on a & within a password
            raise ImproperlyConfigured(
                f"{setting}: parameter {number} behind the ? is none of {', '.join(known)}; within a value & is %26"
            )
    if ("user" in given) != ("password" in given):
        raise ImproperlyConfigured(f"{setting}: user and password belong together")
    if given.get("tls", "0") not in ("0", "1"):
        raise ImproperlyConfigured(f"{setting}: tls is 0 or 1")
    files = {name: given[name] for name in TLS_FILES if name in given}
    if ("tls_cert" in files) != ("tls_key" in files):
        raise ImproperlyConfigured(f"{setting}: tls_cert and tls_key belong together")
    for name, path in files.items():
        if not Path(path).is_file():
            raise ImproperlyConfigured(f"{setting}: {name}: no such file: {path}")
    tls = bool(files) or given.get("tls") == "1"
    return EtcdAddress(endpoints, key, given.get("user", ""), given.get("password", ""), tls, files)


class Instances:
    """Who is registered under a key, followed from `start` on. An etcd that is away leaves the last known ones."""

    def __init__(self, address: EtcdAddress, changed: Callable[[tuple[str, ...]], None]) -> None:
        self.address = address
        self.known: tuple[str, ...] = ()
        """``host:port`` each, in order. Once there was one, never empty: if all leases are lost, etcd is at fault."""
        self.problem = "etcd has not been asked yet"
        """Why what is known may be old; empty while it is followed."""
        self._changed = changed
        self._registered: dict[bytes, str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running loop; once, further calls do nothing."""
        if self._task is None:
            self._task = tasks.supervise(self._run, "discovery")

    async def stop(self) -> None:
        """Follow no more."""
        if self._task is not None:
            await tasks.end([self._task])
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        wait = FIRST_WAIT
        for endpoint in itertools.cycle(self.address.endpoints):
            began = loop.time()
            try:
                await self._follow(endpoint)
            except Exception as error:
                problem = f"etcd at {endpoint}: {_reason(error)}"
                if problem != self.problem:
                    logger.warning("%s: %s; going on with %s", self.address, problem, list(self.known) or "nobody")
                self.problem = problem
            if loop.time() - began > STEADY_SECONDS:
                wait = FIRST_WAIT
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            wait = min(2 * wait, LONGEST_WAIT)

    async def _follow(self, endpoint: str) -> None:
        """Follow by one member of etcd, until something is wrong with it."""
        async with self._connect(endpoint) as channel:
            metadata = [HAS_LEADER, *await self._authenticate(channel)]
            while True:
                revision = await self._read(channel, metadata)
                await self._watch(channel, metadata, revision + 1)

    def _connect(self, endpoint: str) -> grpc.aio.Channel:
        if not self.address.tls:
            return grpc.aio.insecure_channel(endpoint, options=OPTIONS)
        ca, cert, key = (
            Path(self.address.tls_files[name]).read_bytes() if name in self.address.tls_files else None
            for name in TLS_FILES
        )
        return grpc.aio.secure_channel(endpoint, grpc.ssl_channel_credentials(ca, key, cert), options=OPTIONS)

    async def _authenticate(self, channel: grpc.aio.Channel) -> list[tuple[str, str]]:
        if not self.address.user:
            return []
        request = pb.AuthenticateRequest(name=self.address.user, password=self.address.password)
        answer = await AuthStub(channel).Authenticate(request, timeout=ANSWER_SECONDS)
        return [("token", answer.token)]

    async def _read(self, channel: grpc.aio.Channel, metadata: list[tuple[str, str]]) -> int:
        """Read all of the key; etcd's revision at that moment."""
        request = pb.RangeRequest(key=self._prefix, range_end=self._prefix_end)
        answer = await KVStub(channel).Range(request, timeout=ANSWER_SECONDS, metadata=metadata)
        self._registered = {pair.key: pair.value.decode(errors="replace") for pair in answer.kvs}
        self._tell()
        return answer.header.revision

    async def _watch(self, channel: grpc.aio.Channel, metadata: list[tuple[str, str]], revision: int) -> None:
        """Take over each change from a revision on; returns where that revision is no longer kept."""
        watch = WatchStub(channel).Watch(metadata=metadata)
        try:
            create = pb.WatchCreateRequest(key=self._prefix, range_end=self._prefix_end, start_revision=revision)
            async with asyncio.timeout(ANSWER_SECONDS):
                await watch.write(pb.WatchRequest(create_request=create))
                response = await watch.read()
            while isinstance(response, pb.WatchResponse):
                if response.compact_revision:
                    return
                if response.canceled:
                    raise ConnectionError(response.cancel_reason or "the watch was cancelled")
                self.problem = ""
                for event in response.events:
                    if event.type == pb.Event.DELETE:
                        self._registered.pop(event.kv.key, None)
                    else:
                        self._registered[event.kv.key] = event.kv.value.decode(errors="replace")
                if response.events:
                    self._tell()
                response = await watch.read()
            raise ConnectionError("the watch ended")
        finally:
            watch.cancel()

    @property
    def _prefix(self) -> bytes:
        return f"{self.address.key}/".encode()

    @property
    def _prefix_end(self) -> bytes:
        """The first key behind all that begin with the prefix."""
        return f"{self.address.key}0".encode()  # 0 follows on /

    def _tell(self) -> None:
        known = tuple(sorted({address for address in self._registered.values() if _is_address(address)}))
        if not known:
            if self.known:
                logger.warning("%s: nobody is registered any more; going on with %s", self.address, list(self.known))
            return
        if known != self.known:
            logger.info("%s: %s", self.address, ", ".join(known))
            self.known = known
            self._changed(known)


def _is_address(value: str) -> bool:
    host, _, port = value.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit()


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__

"""Find the instances of a service in etcd, where go-zero writes each as ``host:port`` under ``<key>/<lease id>``.

This module is imported only if an address begins with ``etcd://``.
"""

import asyncio
import itertools
import logging
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import grpc
from django.core.exceptions import ImproperlyConfigured

from chatws.chat_service.pb import etcd_pb2 as pb
from chatws.chat_service.pb.etcd_pb2_grpc import AuthStub, KVStub, WatchStub
from realtime.aio import tasks
from realtime.aio.backoff import Backoff

logger = logging.getLogger(__name__)

SCHEME = "etcd"
ANSWER_SECONDS = 3.0
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
STEADY_SECONDS = 30.0
"""After a watch of this length the next wait is `FIRST_WAIT` again."""
OPTIONS: list[tuple[str, str | int]] = [
    # A watch may be silent for hours, so pings detect a dead connection. etcd allows one ping every 5 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
HAS_LEADER = ("hasleader", "true")
"""With this metadata a member without a leader ends the watch; otherwise it would stay silent."""
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
TLS_FILES = "tls_ca", "tls_cert", "tls_key"


@dataclass(frozen=True, slots=True)
class EtcdAddress:
    """The etcd endpoints and the key under which a service's instances register."""

    endpoints: tuple[str, ...]
    key: str
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    tls_files: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{SCHEME}://{','.join(self.endpoints)}/{self.key}"


def parse(setting: str, address: str) -> EtcdAddress:
    """Parse ``etcd://host:port,host:port/<key>?user=…&password=…&tls=1&tls_ca=…&tls_cert=…&tls_key=…``.

    Raises:
        ImproperlyConfigured: the message names ``setting`` and the mistake, and contains no password.
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # its text would show a part of the address, which may be a part of the password
        raise ImproperlyConfigured(f"{setting}: not etcd://host:port,host:port/<key>") from None
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
    if parts.fragment or "#" in address or "+" in parts.query or _BAD_PERCENT.search(parts.query):
        raise ImproperlyConfigured(
            f"{setting}: after the ? a # is written %23, a + %2B, a space %20 and a % itself %25"
        )
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = "user", "password", "tls", *TLS_FILES
    for number, name in enumerate(given, 1):
        if name not in known:  # the message does not show it: it may be the rest of a password after a &
            raise ImproperlyConfigured(
                f"{setting}: parameter {number} after the ? is none of {', '.join(known)}; within a value & is %26"
            )
    if ("user" in given) != ("password" in given):
        raise ImproperlyConfigured(f"{setting}: user and password must be given together")
    if given.get("tls", "0") not in ("0", "1"):
        raise ImproperlyConfigured(f"{setting}: tls is 0 or 1")
    files = {name: given[name] for name in TLS_FILES if name in given}
    if ("tls_cert" in files) != ("tls_key" in files):
        raise ImproperlyConfigured(f"{setting}: tls_cert and tls_key must be given together")
    for name, path in files.items():
        if not Path(path).is_file():
            raise ImproperlyConfigured(f"{setting}: {name}: no such file: {path}")
    tls = bool(files) or given.get("tls") == "1"
    return EtcdAddress(endpoints, key, given.get("user", ""), given.get("password", ""), tls, files)


class Instances:
    """The instances under a key, watched from `start` on. While etcd is unavailable, the last known instances stay."""

    def __init__(self, address: EtcdAddress, changed: Callable[[tuple[str, ...]], None]) -> None:
        self.address = address
        self.known: tuple[str, ...] = ()
        """``host:port`` of each instance, sorted. When all leases are lost it stays, because then etcd is at fault."""
        self.problem = "etcd has not answered yet"
        """Why `known` may be out of date; empty while the watch works."""
        self._changed = changed
        self._registered: dict[bytes, str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start watching in the running loop; further calls do nothing."""
        if self._task is None:
            self._task = tasks.supervise(self._run, "discovery")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            await tasks.end([self._task])
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        for endpoint in itertools.cycle(self.address.endpoints):
            began = loop.time()
            try:
                await self._follow(endpoint)
            except Exception as error:  # supervisor: after any failure the next member of etcd is tried
                problem = f"etcd at {endpoint}: {_reason(error)}"
                if problem != self.problem:
                    logger.warning("%s: %s; keeping the known instances %s", self.address, problem, list(self.known))
                self.problem = problem
            if loop.time() - began > STEADY_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.take() * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def _follow(self, endpoint: str) -> None:
        """Watch the key through one member of etcd; return only by raising the member's error."""
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
        """Read all instances; return etcd's revision of that moment."""
        request = pb.RangeRequest(key=self._prefix, range_end=self._prefix_end)
        answer = await KVStub(channel).Range(request, timeout=ANSWER_SECONDS, metadata=metadata)
        self._registered = {pair.key: pair.value.decode(errors="replace") for pair in answer.kvs}
        self._report()
        return answer.header.revision

    async def _watch(self, channel: grpc.aio.Channel, metadata: list[tuple[str, str]], revision: int) -> None:
        """Apply each change from a revision on; return if etcd no longer has that revision."""
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
                    self._report()
                response = await watch.read()
            raise ConnectionError("the watch ended")
        finally:
            watch.cancel()

    @property
    def _prefix(self) -> bytes:
        return f"{self.address.key}/".encode()

    @property
    def _prefix_end(self) -> bytes:
        """Return the first key after all keys with the prefix."""
        return f"{self.address.key}0".encode()  # "0" is the character after "/"

    def _report(self) -> None:
        known = tuple(sorted({address for address in self._registered.values() if _is_address(address)}))
        if not known:
            if self.known:
                logger.warning(
                    "%s: no instance is registered any more; keeping the known instances %s",
                    self.address, list(self.known),
                )  # fmt: skip
            return
        if known != self.known:
            logger.info("%s: the instances are now %s", self.address, ", ".join(known))
            self.known = known
            self._changed(known)


def _is_address(value: str) -> bool:
    host, _, port = value.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit()


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__

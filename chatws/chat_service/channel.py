"""Open a gRPC channel to one service, with its address, TLS, keepalive and retries.

The first call creates the channel, in its event loop. If the address is a DNS name or names etcd, the channel is
replaced whenever instances are added or removed.
"""

import asyncio
import ipaddress
import json
import logging
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import grpc
from django.core.exceptions import ImproperlyConfigured

from chatws.chat_service.resolving import ResolvedName
from realtime.aio import tasks
from realtime.aio.waiting import wait_event

logger = logging.getLogger(__name__)

STATE_SECONDS = 0.5
"""How long `Channel.state` waits for a connection; a Kubernetes probe times out after one second."""
LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes. A page of 100 of the longest texts that a MySQL TEXT holds is 6.5 MB; gRPC's own limit is 4 MB."""
GRACE_SECONDS = 60.0
"""How long running calls may continue on a channel that has been replaced."""


_HOST = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")


class NoInstance(Exception):
    """No instance of a service is known; the message names the address where instances register."""


def options_of(*services: str) -> list[tuple[str, str | int]]:
    """Return options of a channel that balances over instances and retries calls of these services."""
    retries = {
        "maxAttempts": 4,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 3,
        # An instance that stops without grace returns its running calls as CANCELLED.
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [{"service": service} for service in services], "retryPolicy": retries}],
    }
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.enable_retries", 1),
        # Go servers answer GOAWAY to more than one ping in 5 minutes.
        ("grpc.keepalive_time_ms", 300_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.max_receive_message_length", LARGEST_ANSWER),
    ]


class Instances(Protocol):
    """What knows the instances of a service: etcd or DNS. It calls a function with all of them on each change."""

    known: tuple[str, ...]
    problem: str

    def start(self) -> None: ...

    async def stop(self) -> None: ...


class Channel:
    """A channel to a service; ``setting`` is the name of the setting that holds its address.

    Raises:
        ImproperlyConfigured: the address is invalid; the message names ``setting``.
    """

    def __init__(self, setting: str, address: str, *services: str, tls_ca: str = "") -> None:
        self._options = options_of(*services)
        self._tls_ca = tls_ca
        if tls_ca:
            _read_certificates(tls_ca)  # so that a mistake is reported at the start; each channel reads the file anew
        self._opened: grpc.aio.Channel | None = None
        self._is_open = asyncio.Event()
        self._tasks = tasks.Group()
        self._instances: Instances | None = None
        self.instances: Sequence[str] = ()
        """``host:port`` of each instance that is called; empty if the address lists IP addresses."""
        self._name = ""
        """The ``name:port`` of the service, if the address is one."""
        self.address = address
        """The address for messages, without a password."""
        if address.startswith("etcd:"):
            from chatws.chat_service import discovery  # imported here: only deployments with etcd need it

            where = discovery.parse(setting, address)
            self._instances = discovery.Instances(where, self._instances_changed)
            self.address = str(where)
        else:
            self._target = target_of(setting, address)
            if not self._target:
                self.address = address.strip(" ,")
                self._name = self.address.replace(".:", ":")  # no certificate has the dot of a full name
                self._instances = ResolvedName(self.address, self._instances_changed)

    async def open(self, seconds: float) -> grpc.aio.Channel:
        """Return the current channel; call this again for each call, because the channel may be replaced.

        Raises:
            NoInstance: no instance of the service became known within ``seconds``.
        """
        if self._opened is None and self._instances is None:
            self._opened = self._make(self._target, _host(self.address))
        elif self._opened is None and self._instances is not None:
            self._instances.start()
            await wait_event(self._is_open, seconds)
        if self._opened is None:
            problem = self._instances.problem if self._instances is not None else ""
            raise NoInstance(f"{self.address}: {problem or 'no instance is registered'}")
        return self._opened

    async def state(self) -> str:
        """Return ``ok``, or why the service is unavailable; wait up to `STATE_SECONDS` for the connection."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STATE_SECONDS
        try:
            channel = await self.open(STATE_SECONDS)
        except NoInstance as error:
            return str(error)
        state = channel.get_state(try_to_connect=True)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        return "ok" if state is grpc.ChannelConnectivity.READY else f"{state.name.lower()} ({self.address})"

    async def close(self) -> None:
        """Close the connections."""
        if self._instances is not None:
            await self._instances.stop()
        await self._tasks.end()
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    def _instances_changed(self, known: Sequence[str]) -> None:
        self._tasks.spawn(self._replace(known), f"a channel to {self.address}")

    async def _replace(self, known: Sequence[str]) -> None:
        """Send new calls to these instances; running calls continue on the old channel."""
        target = await _target_of_all(known)
        if not target:
            return
        if self._instances is None or tuple(known) != self._instances.known:  # a newer change replaces this one
            return
        before, self._opened = self._opened, self._make(target, _host(self._name or known[0]))
        self.instances = known
        self._is_open.set()
        if before is not None:
            await before.close(GRACE_SECONDS)

    def _make(self, target: str, host: str) -> grpc.aio.Channel:
        """Create a channel; with TLS, every instance's certificate must name ``host``.

        Without the override gRPC would take the whole list of addresses for the name. A proxy or a mesh between may
        route calls by the name of the service, which is the calls' authority.
        """
        options = [*self._options, ("grpc.default_authority", self._name)] if self._name else self._options
        if not self._tls_ca:
            return grpc.aio.insecure_channel(target, options=options)
        credentials = grpc.ssl_channel_credentials(root_certificates=_read_certificates(self._tls_ca))
        options = [*options, ("grpc.ssl_target_name_override", host)]
        return grpc.aio.secure_channel(target, credentials, options=options)


def _read_certificates(path: str) -> bytes:
    try:
        certificates = Path(path).read_bytes()
    except OSError as error:
        raise ImproperlyConfigured(f"CHATWS_RPC_TLS_CA: {path}: {error.strerror}") from None
    if b"-----BEGIN CERTIFICATE-----" not in certificates:
        raise ImproperlyConfigured(f"CHATWS_RPC_TLS_CA: {path}: no certificate in PEM")
    return certificates


async def _target_of_all(addresses: Sequence[str]) -> str:
    """Return one gRPC target for all addresses, empty if none resolves; with several it must list IP addresses."""
    loop = asyncio.get_running_loop()
    found: dict[str, bool] = {}
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            infos = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        except OSError as error:
            logger.warning("the instance %s is ignored, its name does not resolve: %s", address, error)
            continue
        for family, *_, where in infos:
            is_6 = family == socket.AF_INET6
            found[f"[{where[0]}]:{port}" if is_6 else f"{where[0]}:{port}"] = is_6
    if not found:
        return ""
    if not any(found.values()):
        return "ipv4:" + ",".join(found)
    return "ipv6:" + ",".join(name if is_6 else f"[::ffff:{name.replace(':', ']:')}" for name, is_6 in found.items())


def _host(address: str) -> str:
    """Return the host of ``host:port``, of the first if there are several."""
    return address.partition(",")[0].strip().rpartition(":")[0].strip("[]")


def target_of(setting: str, address: str) -> str:
    """Return the gRPC target for ``IP:port[,IP:port…]``, or an empty text for ``name:port``.

    Raises:
        ImproperlyConfigured: the address has another form; the message names ``setting``.
    """
    parts = [part.strip() for part in address.split(",") if part.strip()]
    versions = {_ip_version(part) for part in parts}
    if versions == {4}:
        return "ipv4:" + ",".join(parts)
    if versions == {6}:
        return "ipv6:" + ",".join(parts)
    if len(parts) == 1 and versions == {None}:
        host, _, port = parts[0].rpartition(":")
        if _HOST.fullmatch(host) and _is_port(port):
            return ""
    raise ImproperlyConfigured(
        f"{setting}: it is neither IP:port (several of one kind, comma separated) nor one name:port "
        "nor etcd://host:port/<key>"
    )


def _ip_version(part: str) -> int | None:
    host, _, port = part.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return address.version if _is_port(port) else None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65_536

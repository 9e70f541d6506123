"""A gRPC channel to one service: its address, TLS, keepalive and retries. Made on the first call, in its loop."""

import ipaddress
import json
from pathlib import Path

import grpc
from django.core.exceptions import ImproperlyConfigured


def options_of(*services: str) -> list[tuple[str, str | int]]:
    """Options of a channel that balances, and tries calls of these services again where they find nobody."""
    retries = {
        "maxAttempts": 4,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [{"service": service} for service in services], "retryPolicy": retries}],
    }
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.enable_retries", 1),
        # Go servers answer GOAWAY to pings more often than every 5 minutes.
        ("grpc.keepalive_time_ms", 300_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]


class Channel:
    """The way to a service; ``setting`` is the name under which its address was given.

    Raises:
        ImproperlyConfigured: the address can't be read; the message names ``setting``.
    """

    def __init__(self, setting: str, address: str, *services: str, tls_ca: str = "") -> None:
        self.address = address
        self._target = target_of(setting, address)
        self._options = options_of(*services)
        self._tls_ca = tls_ca
        self._opened: grpc.aio.Channel | None = None

    def open(self) -> grpc.aio.Channel:
        """The channel to call by now; ask again for each call."""
        if self._opened is None:
            self._opened = self._make(self._target)
        return self._opened

    async def state(self) -> str:
        """``ok``, or why the service can't be called now."""
        state = self.open().get_state(try_to_connect=True)
        return "ok" if state is grpc.ChannelConnectivity.READY else f"{state.name.lower()} ({self.address})"

    async def close(self) -> None:
        """Let go of the connections."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    def _make(self, target: str) -> grpc.aio.Channel:
        if not self._tls_ca:
            return grpc.aio.insecure_channel(target, options=self._options)
        credentials = grpc.ssl_channel_credentials(root_certificates=Path(self._tls_ca).read_bytes())
        return grpc.aio.secure_channel(target, credentials, options=self._options)


def target_of(setting: str, address: str) -> str:
    """A gRPC target for ``IP:port[,IP:port…]`` or ``name:port``.

    Raises:
        ImproperlyConfigured: neither; the message names ``setting``.
    """
    parts = [part.strip() for part in address.split(",") if part.strip()]
    versions = {_ip_version(part) for part in parts}
    if versions == {4}:
        return "ipv4:" + ",".join(parts)
    if versions == {6}:
        return "ipv6:" + ",".join(parts)
    if len(parts) == 1 and versions == {None}:
        host, _, port = parts[0].rpartition(":")
        if host and port.isascii() and port.isdigit() and ":" not in host:
            return f"dns:///{parts[0]}"
    raise ImproperlyConfigured(
        f"{setting}: {address!r} is neither IP:port (several of one kind, comma separated) nor one name:port"
    )


def _ip_version(part: str) -> int | None:
    host, _, port = part.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return address.version if port.isascii() and port.isdigit() else None

"""Check that a DNS name is resolved again: instances that come are called, those that leave are forgotten."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatws.chat_service import resolving
from chatws.chat_service.port import ChatServiceError
from tests.chatws.chat_service.test_discovery import asking, gateway_of, until_answered_by
from tests.support.instance import Instance
from tests.support.redis import free_port
from tests.support.waiting import LIMIT, until

NAME = "chat-rpc.test"


class Names:
    """The answers of DNS for `NAME`; an empty list is an error."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.asked = 0


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Names:
    names, system = Names(), socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != NAME:
            return system(host, port, *args, **options)
        names.asked += 1
        if not names.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in names.addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(resolving, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(resolving, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(resolving, "FORGET_SECONDS", 1.0)
    return names


@pytest.fixture
async def pods() -> AsyncIterator[list[Instance]]:
    """Start three instances on one port of different addresses, as the pods of a headless service have it."""
    port = free_port()
    started = [await Instance(number, own=f"127.0.0.{number}:{port}").start() for number in (1, 2, 3)]
    yield started
    for pod in started:
        await pod.stop()


async def test_new_pods_are_called_and_gone_ones_forgotten(dns: Names, pods: list[Instance]) -> None:
    dns.addresses = ["127.0.0.1"]
    target = f"{NAME}:{pods[0].address.rpartition(':')[2]}"
    async with gateway_of(target) as gateway, asking(gateway) as answered:
        await until_answered_by(answered, 1)
        dns.addresses = ["127.0.0.1", "127.0.0.2"]
        await until_answered_by(answered, 1, 2)
        assert gateway.instances == tuple(pod.address for pod in pods[:2])
        dns.addresses = ["127.0.0.3"]
        await until_answered_by(answered, 3)
        assert await gateway.state() == "ok"


async def test_failing_dns_keeps_the_known_addresses(dns: Names, pods: list[Instance]) -> None:
    dns.addresses = ["127.0.0.1"]
    async with gateway_of(f"{NAME}:{pods[0].address.rpartition(':')[2]}") as gateway, asking(gateway) as answered:
        await until_answered_by(answered, 1)
        dns.addresses = []
        before = dns.asked
        await until(lambda: dns.asked > before + 40, what="more questions than an absent address is kept for")
        await until_answered_by(answered, 1)


async def test_part_of_the_addresses_replaces_no_channel(dns: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers answer with another part of all addresses each time."""
    monkeypatch.setattr(resolving, "FORGET_SECONDS", LIMIT)
    changes: list[tuple[str, ...]] = []
    name = resolving.ResolvedName(f"{NAME}:1", changes.append)
    dns.addresses = ["127.0.0.1", "127.0.0.2"]
    name.start()
    try:
        await until(lambda: changes, what="an answer")
        for number in range(20):
            dns.addresses = [f"127.0.0.{number % 2 + 1}"]
            before = dns.asked
            await until(lambda before=before: dns.asked > before + 1, what="another answer")  # type: ignore[misc]
        assert changes == [("127.0.0.1:1", "127.0.0.2:1")]
    finally:
        await name.stop()


async def test_unknown_name_is_told_and_found_later(dns: Names, pods: list[Instance]) -> None:
    async with gateway_of(f"{NAME}:{pods[0].address.rpartition(':')[2]}", seconds=0.5) as gateway:
        with pytest.raises(ChatServiceError, match="does not resolve") as refused:
            await gateway.unread_notifications(1)
        assert refused.value.code == 503
        assert NAME in await gateway.state()
        dns.addresses = ["127.0.0.1"]
        await until(lambda: gateway.instances, what="an instance")
        assert await gateway.unread_notifications(1) == 1

"""Check the order of a connection's steps with everything around it replaced."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings

from realtime.auth.principal import Principal
from realtime.auth.revocations import Revocations
from realtime.connection import consumer
from realtime.connection.consumer import Connection
from realtime.connection.handler import Notice
from realtime.connection.handshake import Handshake
from realtime.exceptions import AuthenticationError
from realtime.node.admission import Admission
from tests.support.waiting import LIMIT


class Welcoming:
    """Accepts every user, and records who is refused."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.refusals: list[str] = []

    async def authenticated(self, principal: Principal) -> None:
        self.connection.identify(principal, "header")

    async def frame_received(self, text: str, size: int) -> None: ...

    def can_overtake(self, text: str) -> bool:
        return False

    def notify(self, notice: Notice) -> None:
        if isinstance(notice, AuthenticationError):
            self.refusals.append(notice.reason)

    def closed(self) -> None: ...


def node_with(revocations: Revocations) -> Any:
    quiet: Any = SimpleNamespace(
        opened=lambda *_, **__: None, closed=lambda *_, **__: None, authenticated=lambda *_, **__: None
    )
    return SimpleNamespace(
        conf=settings.REALTIME, connections={}, users=Counter(), serving={},
        admission=Admission(settings.REALTIME),
        draining=False, audit=quiet, presence=quiet, revocations=revocations, empty=asyncio.Event(),
    )  # fmt: skip


async def test_clock_that_is_set_forward_ends_expired_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "CLOCK_SECONDS", 0.01)
    clock = SimpleNamespace(time=lambda: 1_000.0, monotonic=time.monotonic)
    monkeypatch.setattr(consumer, "time", clock)
    node = node_with(Revocations(None, None))  # type: ignore[arg-type]  # it is not asked
    connection = Connection(node, Welcoming)
    expires_at, closed = 1_000 + 86_400, asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not connection.user_id:
            return {"type": "websocket.connect"}
        clock.time = lambda: expires_at + settings.REALTIME.jwt_leeway + 1
        await closed.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            sent.append(message["code"])
            closed.set()

    sent: list[int] = []
    principal = Principal(user_id=7, expires_at=expires_at)
    async with asyncio.timeout(LIMIT):
        await connection({"handshake": Handshake(auth_method="header", principal=principal)}, receive, send)
    assert sent == [4401]


async def test_token_revoked_after_the_handshake_is_rejected() -> None:
    revocations = Revocations(None, None)  # type: ignore[arg-type]  # what is known is enough here
    node = node_with(revocations)
    connection = Connection(node, Welcoming)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            return {"type": "websocket.connect"}
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        revocations._known = {"user:7": (2_000, 3_000)}  # the gateway has received it and checked its sockets

    principal = Principal(user_id=7, expires_at=2**40, issued_at=1_000)
    await connection({"handshake": Handshake(auth_method="header", principal=principal)}, receive, send)
    assert isinstance(connection.handler, Welcoming)
    assert connection.handler.refusals == ["revoked"]
    assert sent[-1] == {"type": "websocket.close", "code": 4401}

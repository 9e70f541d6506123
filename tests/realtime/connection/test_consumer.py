"""A socket's life where only its own order of steps can be watched: everything around it stands still."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from django.conf import settings

from realtime.auth.principal import Principal
from realtime.auth.revocations import Revocations
from realtime.connection.consumer import DeliveryConsumer
from realtime.connection.handshake import Handshake
from realtime.exceptions import AuthenticationError
from realtime.node.admission import Admission


class Welcoming(DeliveryConsumer):
    """Lets everybody in, and notes who is refused."""

    refusals: list[str]

    async def handshake_authenticated(self, principal: Principal) -> None:
        self.identify(principal, "header")

    def refused(self, error: AuthenticationError) -> None:
        self.refusals.append(error.reason)


async def test_token_revoked_after_the_handshake_is_rejected() -> None:
    revocations = Revocations(None, None, 90)  # type: ignore[arg-type]  # what is known is enough here
    quiet: Any = SimpleNamespace(
        opened=lambda *_, **__: None, closed=lambda *_, **__: None, authenticated=lambda *_, **__: None
    )
    node: Any = SimpleNamespace(
        start=lambda: None, conf=settings.REALTIME, connections={}, users=Counter(), serving=set(),
        admission=Admission(settings.REALTIME),
        draining=False, audit=quiet, presence=quiet, revocations=revocations, empty=asyncio.Event(),
        hub=SimpleNamespace(leave_all=lambda member: None),
    )  # fmt: skip
    consumer = Welcoming(node)
    consumer.refusals = []
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            return {"type": "websocket.connect"}
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        revocations._known = {"user:7": (2_000, 3_000)}  # by now the gateway has heard of it, and looked at its sockets

    principal = Principal(user_id=7, expires_at=2**40, issued_at=1_000)
    await consumer({"handshake": Handshake(way="header", principal=principal)}, receive, send)
    assert consumer.refusals == ["revoked"]
    assert sent[-1] == {"type": "websocket.close", "code": 4401}

"""Check what a client receives if its connection's session can't start."""

import json
from functools import partial
from types import SimpleNamespace
from typing import Any

from django.conf import settings

from chatws.socket.connection import ChatConnection
from realtime.auth.principal import Principal
from realtime.connection.asgi_outbox import AsgiOutbox
from realtime.connection.consumer import Connection

AUTH = json.dumps({"type": "auth", "message_id": "a", "data": {"token": "t"}})


def connection_of(sent: list[Any], **services: Any) -> Connection:
    """Return a connection whose services are these; it records what it sends."""
    quiet = SimpleNamespace(opened=lambda *_, **__: None, authenticated=lambda *_, **__: None)
    node = SimpleNamespace(conf=settings.REALTIME, users={7: 0}, presence=quiet, audit=quiet, **services)

    async def send(message: dict[str, Any]) -> None:
        if "text" not in message:
            sent.append(message["code"])
            return
        frame = json.loads(message["text"])
        sent.append((frame["data"]["code"], frame["message_id"]))

    everything: Any = SimpleNamespace(node=node, **services)
    connection = Connection(everything.node, partial(ChatConnection, everything))
    connection.outbox = AsgiOutbox(send, 10_000)
    connection.handler = ChatConnection(everything, connection)
    return connection


async def test_failing_handler_is_answered_with_the_frames_id() -> None:
    sent: list[Any] = []
    connection = connection_of(sent)
    connection.handler.session = SimpleNamespace()  # type: ignore[attr-defined]
    frame = json.dumps({"type": "presence", "message_id": "p-1", "data": {"group_id": "g"}})
    await connection.dispatch({"type": "websocket.receive", "text": frame})
    assert sent == [(500, "p-1")]
    await connection.dispatch({"type": "websocket.receive", "text": frame})
    assert sent[1:] == [(500, "p-1"), 4500]


async def test_failed_start_sends_500_and_closes_with_4500() -> None:
    async def authenticate(token: str) -> Principal:
        return Principal(user_id=7, expires_at=2**40)

    def enter(*_: Any) -> None:
        raise RuntimeError("no membership")

    sent: list[Any] = []
    connection = connection_of(sent, authenticate=authenticate, memberships=SimpleNamespace(enter=enter))
    await connection.dispatch({"type": "websocket.receive", "text": AUTH})
    connection._cancel_timer()
    assert sent == [(500, "a"), 4500]


async def test_failed_authentication_sends_500_and_closes_with_4500() -> None:
    """It had neither a user nor a deadline, and stayed open."""

    async def authenticate(token: str) -> Principal:
        raise RuntimeError("no keys")

    sent: list[Any] = []
    await connection_of(sent, authenticate=authenticate).dispatch({"type": "websocket.receive", "text": AUTH})
    assert sent == [(500, "a"), 4500]

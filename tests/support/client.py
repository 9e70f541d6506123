"""A WebSocket client for tests: it sends frames, stores received frames and waits for expected ones."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jwt
import websockets
from django.conf import settings
from websockets.asyncio.client import ClientConnection

from tests.support import schemas
from tests.support.waiting import LIMIT

Frame = dict[str, Any]
_ids = itertools.count(1)


def make_token(user_id: int, seconds: float = 600, **claims: Any) -> str:
    """Return a token of this user, as another service of the platform issues it."""
    now = int(time.time())
    given = {"userId": user_id, "role": "user", "iat": now, "exp": int(now + seconds), **claims}
    return jwt.encode(given, settings.REALTIME.jwt_secret, "HS256")


def bearer(user_id: int, **claims: Any) -> dict[str, str]:
    """Return the header with such a token."""
    return {"Authorization": f"Bearer {make_token(user_id, **claims)}"}


class Client:
    """One connection. ``seen`` holds every frame, in order of arrival."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[Frame] = []
        self._sent: dict[str, bool] = {}
        """By message id, whether the sent frame matches the AsyncAPI document."""
        self._unread: list[Frame] = []

    async def send(self, kind: str, data: Any = None, **envelope: Any) -> str:
        """Send a frame and return its message id."""
        message_id: str = envelope.setdefault("message_id", f"c-{next(_ids)}")
        await self.raw(json.dumps({"type": kind, "timestamp": int(time.time()), "data": data or {}, **envelope}))
        return message_id

    async def raw(self, text: str | bytes) -> None:
        self._sent |= schemas.sent(text)
        await self.socket.send(text)

    async def recv(self) -> Frame:
        """Return the next unread frame."""
        if self._unread:
            return self._unread.pop(0)
        return await self._read()

    async def expect(self, kind: str, matching: Callable[[Frame], bool] = lambda frame: True) -> Frame:
        """Return the next unread frame of this type; others stay unread."""
        for index, frame in enumerate(self._unread):
            if frame["type"] == kind and matching(frame):
                return self._unread.pop(index)
        while True:
            frame = await self._read()
            if frame["type"] == kind and matching(frame):
                return frame
            self._unread.append(frame)

    async def ask(self, kind: str, data: Any = None, **envelope: Any) -> Frame:
        """Send a frame and return the answer with its message id."""
        message_id = await self.send(kind, data, **envelope)
        return await self.answer(message_id)

    async def answer(self, message_id: str) -> Frame:
        """Return the next unread frame that has a message id and is not a publication."""
        matching = [f for f in self._unread if f["message_id"] == message_id and "offset" not in f]
        if matching:
            self._unread.remove(matching[0])
            return matching[0]
        while True:
            frame = await self._read()
            if frame["message_id"] == message_id and "offset" not in frame:
                return frame
            self._unread.append(frame)

    async def closed(self) -> int:
        """Return the close code once the server has closed."""
        async with asyncio.timeout(LIMIT):
            try:
                while True:
                    self._received(await self.socket.recv())
            except websockets.ConnectionClosed:
                assert self.socket.close_code is not None
                return self.socket.close_code

    async def settled(self) -> list[Frame]:
        """Return the unread frames once everything sent before has been answered."""
        await self.answer(await self.send("history", {}))  # an unknown type is rejected in order; a ping may overtake
        return list(self._unread)

    async def close(self) -> None:
        """Close, and read the remaining frames up to the server's close frame."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_out())
            await self.socket.close()

    async def _read_out(self) -> None:
        with suppress(websockets.ConnectionClosed):
            while True:
                await self.socket.recv()

    async def _read(self) -> Frame:
        async with asyncio.timeout(LIMIT):
            return self._received(await self.socket.recv())

    def _received(self, text: str | bytes) -> Frame:
        frame: Frame = json.loads(text)
        schemas.check_received(frame, self._sent)
        self.seen.append(frame)
        return frame


async def connect(url: str, **options: Any) -> Client:
    """Open a connection; it is not authenticated unless the options carry a token.

    The client library's own deadlines are off, so that a paused gateway or a busy machine breaks no socket.
    """
    return Client(await websockets.connect(url, open_timeout=LIMIT, ping_timeout=None, **options))

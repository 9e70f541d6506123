"""Devices with a client of the older protocol: its token is in the handshake, and it knows no feeds and no resume."""

import asyncio
import json
import time
from enum import Enum
from typing import Any

from websockets.exceptions import ConnectionClosed

from chatws.client.events import Frame, Refused
from chatws.client.positions import Position
from tests.simulation.client_sockets import ClientSocket, Connect
from tests.simulation.devices import BaseDevice, Place
from tests.simulation.sockets import Request

PING_SECONDS, ANSWER_SECONDS = 20.0, 10.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0
MAY_BE_REPEATED = (401, 429, 500, 503)


class Way(Enum):
    """How the token is given."""

    HEADER = "header"
    SUBPROTOCOL = "subprotocol"
    FRAME = "frame"


class PlainDevice(BaseDevice):
    """A device that reconnects after a random wait, and sends what was not answered again, unchanged."""

    def __init__(self, *args: Any, way: Way = Way.HEADER, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pending: dict[str, tuple[Frame, float]] = {}
        """Messages without an answer by the id of their frame, and when they were sent first."""
        self._way = way
        self._draws = self.scheduler.draws(f"the client of {self.name}")
        self._opened: ClientSocket | None = None
        self._is_authenticated = False
        self._places: dict[str, Position] = {}

    def start(self) -> None:
        """Start the client."""
        self.run(self._run())

    @property
    def is_online(self) -> bool:
        return self.is_running and self._is_authenticated

    def position(self, feed: str) -> Place | None:
        return self._places.get(feed)

    def send(self, group_id: str, content: str) -> None:
        """Send a message; ``acked`` or ``refused`` is called with the outcome."""
        message_id = f"{self._draws.getrandbits(64):x}"
        frame = {
            "type": "send_message", "message_id": message_id, "timestamp": int(self.process.wall()),
            "data": {"group_id": group_id, "msg_type": 1, "content": content, "image_url": ""},
        }  # fmt: skip
        self.pending[message_id] = frame, self.scheduler.now
        if self.is_online:
            self.process.start(self._write(frame), "sending")

    def close(self) -> None:
        """Close its connection, and end."""
        self.is_running = False
        if self._opened is not None:
            self.process.start(self._opened.close(), "closing")

    async def _run(self) -> None:
        failures = 0
        while self.is_running:
            began = time.monotonic()
            try:
                await self._connected()
            except (ConnectionClosed, OSError, TimeoutError):
                failures = 0 if time.monotonic() - began > 60 else failures + 1
            self._is_authenticated = False
            if self._opened is not None:
                self.closes.append(self._opened.close_code or 1006)
                self._opened = None
            longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures, 10))
            await asyncio.sleep(self._draws.uniform(0.1, longest))

    async def _connected(self) -> None:
        """Connect and read until the connection ends."""
        token = self.token()
        self.process.request = self._request(token)
        socket = await Connect(self._url, open_timeout=15, close_timeout=1)
        self._opened = socket
        try:
            if self._way is Way.FRAME:
                await self._write({"type": "auth", "message_id": "auth", "data": {"token": token}})
            while True:
                await self._take(await self._read(socket))
        finally:
            if socket.close_code is None:
                socket.abort()

    def _request(self, token: str) -> Request:
        request = self.process.request._replace(headers=(), subprotocols=())
        if self._way is Way.HEADER:
            return request._replace(headers=((b"authorization", f"Bearer {token}".encode()),))
        if self._way is Way.SUBPROTOCOL:
            return request._replace(subprotocols=("bearer", token))
        return request

    async def _read(self, socket: ClientSocket) -> Frame:
        """Return the next frame; ping when there is none for a while. Raises TimeoutError without an answer."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                text = await socket.recv()
        except TimeoutError:
            await self._write({"type": "ping", "message_id": "ping"})
            async with asyncio.timeout(ANSWER_SECONDS):
                text = await socket.recv()
        frame: Frame = json.loads(text)
        frame.setdefault("data", {})
        return frame

    async def _take(self, frame: Frame) -> None:
        self._observe(frame)
        kind, data = frame["type"], frame["data"]
        if "offset" in frame:
            self._places[frame["feed"]] = Position(frame["epoch"], frame["offset"])
        for place in data.get("feeds") or ([data] if "epoch" in data else []):
            self._places[place["feed"]] = Position(place["epoch"], place["offset"])
        if kind == "auth_success" and not self._is_authenticated:
            self._is_authenticated = True
            for waiting, _ in list(self.pending.values()):
                await self._write(waiting)
        elif kind in ("ack", "error") and frame["message_id"] in self.pending:
            await self._answered(kind, frame["message_id"], data)

    async def _answered(self, kind: str, message_id: str, data: Frame) -> None:
        frame, began = self.pending[message_id]
        if kind == "error" and data["code"] in MAY_BE_REPEATED:
            self.process.loop.call_later(data.get("retry_after") or 1, self._repeat, message_id)
            return
        del self.pending[message_id]
        group_id = frame["data"]["group_id"]
        if kind == "ack" and self._acked is not None:
            self._acked(data["message_id"], group_id, began)
        elif kind == "error" and self._refused is not None:
            self._refused(group_id, Refused(data["code"], data["message"], frame=frame))

    def _repeat(self, message_id: str) -> None:
        if message_id in self.pending and self.is_online:
            self.process.start(self._write(self.pending[message_id][0]), "sending again")

    async def _write(self, frame: Frame) -> None:
        if self._opened is not None and self._opened.close_code is None:
            await self._opened.send(json.dumps(frame, ensure_ascii=False))

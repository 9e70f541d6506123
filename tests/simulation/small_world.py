"""A scripted gateway of one chat group, twice, and devices: for tests of the clients."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from realtime.connection.extension import EXTENSION
from realtime.hub.batch import Batch
from tests.simulation import client_sockets
from tests.simulation.clients import Device
from tests.simulation.network import Network
from tests.simulation.plain_clients import PlainDevice, Way
from tests.simulation.process import Process
from tests.simulation.scheduler import START, Scheduler
from tests.simulation.seams import installed
from tests.simulation.socket_servers import Balancer, SocketServer
from tests.simulation.tokens import principal_of

EPOCH = "e"
Kind = TypeVar("Kind", Device, PlainDevice)


class Gateway:
    """A scripted gateway of one chat group: it authenticates, acks, publishes, and resumes from its log."""

    def __init__(self, here: "Here", name: str, *, frames: bool) -> None:
        self.process = Process(here.scheduler, here.network, name)
        self.server = SocketServer(self.process, self.application, frames=frames, ping_interval=20, ping_timeout=10)
        self.here = here
        self.members: dict[int, Any] = {}

    async def application(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        writer = scope.get("extensions", {}).get(EXTENSION)
        number = len(self.here.opened)
        self.here.opened.append(self.process.name)

        async def write(frame: Any) -> None:
            text = json.dumps(frame)
            if writer is None:
                await send({"type": "websocket.send", "text": text})
            else:
                writer.write(Batch([text.encode()]).wire)

        headers, offered = dict(scope["headers"]), scope["subprotocols"]
        token = headers.get(b"authorization", b"").decode().removeprefix("Bearer ") or "".join(offered[1:])
        if token:
            await self._serve({"type": "auth", "message_id": "", "data": {"token": token}}, number, write)
        while (message := await receive())["type"] == "websocket.receive":
            await self._serve(json.loads(message["text"]), number, write)
        self.members.pop(number, None)
        self.here.ended.append(message["code"])

    async def _serve(self, frame: Any, number: int, write: Any) -> None:
        kind, data = frame["type"], frame.get("data", {})
        answer = {"message_id": frame["message_id"], "timestamp": int(START + self.here.scheduler.now)}
        if kind == "ping":
            await write({"type": "pong", **answer})
        elif kind == "auth":
            principal = principal_of(data["token"], START + self.here.scheduler.now)
            await self._welcome(data.get("resume", {}), principal, number, write, answer)
        elif kind == "send_message":
            message_id = frame["message_id"]
            if message_id not in self.here.stored:
                self.here.stored.append(message_id)
                await self.here.publish(message_id, data["content"])
            await write({"type": "ack", **answer, "data": {"message_id": message_id, "success": True}})

    async def _welcome(self, resume: Any, principal: Any, number: int, write: Any, answer: Any) -> None:
        said = {"user_id": str(principal.user_id), "expires_at": principal.expires_at, "heartbeat_seconds": 25}
        log, feed = self.here.log, {"feed": "group:g", "epoch": EPOCH, "offset": len(self.here.log)}
        if number in self.members:
            await write({"type": "auth_success", **answer, "data": said})
            return
        at = resume.get("group:g")
        place = feed if at is None else {**feed, "offset": at["offset"], "recovered": True}
        await write({"type": "auth_success", **answer, "data": {**said, "groups": ["g"], "feeds": [place]}})
        for one in log[at["offset"] :] if at is not None else ():
            await write(one)
        self.members[number] = write


class Here:
    """Two gateways behind a balancer, and devices."""

    def __init__(self, *, frames: bool = True) -> None:
        self.scheduler = Scheduler(1)
        self.network = Network(self.scheduler)
        self.log: list[Any] = []
        self.stored: list[str] = []
        self.opened: list[str] = []
        self.ended: list[int] = []
        self.acked: list[tuple[str, str]] = []
        self.gateways = [Gateway(self, f"gateway-{number}", frames=frames) for number in (1, 2)]
        self.balancer = Balancer(self.network, "chat")
        for gateway in self.gateways:
            self.balancer.add(gateway.server)

    def device(self, user_id: int = 1, **options: Any) -> "Reader[Device]":
        return self._started(Reader(self, Device, user_id, **options))

    def plain(self, user_id: int, way: Way) -> "Reader[PlainDevice]":
        return self._started(Reader(self, PlainDevice, user_id, way=way))

    def _started(self, reader: "Reader[Kind]") -> "Reader[Kind]":
        reader.device.start()
        return reader

    async def publish(self, message_id: str, content: str) -> None:
        frame = {
            "type": "new_message", "message_id": message_id, "timestamp": 0,
            "data": {"message_id": message_id, "group_id": "g", "content": content},
            "feed": "group:g", "epoch": EPOCH, "offset": len(self.log) + 1,
        }  # fmt: skip
        self.log.append(frame)
        for gateway in self.gateways:
            for write in list(gateway.members.values()):
                await write(frame)

    def run(self, seconds: float) -> None:
        self.scheduler.run(self.scheduler.now + seconds)


class Reader(Generic[Kind]):
    """A device and what it received."""

    def __init__(self, here: Here, kind: type[Kind], user_id: int, **options: Any) -> None:
        self.frames: list[Any] = []
        self.acked: list[str] = []
        self.device: Kind = kind(
            here.scheduler, here.network, f"device-{user_id}", user_id, observe=self.frames.append,
            acked=lambda message_id, group_id, began: self.acked.append(message_id), **options,
        )  # fmt: skip

    @property
    def received(self) -> list[str]:
        return [frame["data"]["content"] for frame in self.frames if frame["type"] == "new_message"]


@contextmanager
def world(**options: Any) -> Iterator[Here]:
    here = Here(**options)
    with installed(here.scheduler), client_sockets.installed():
        yield here

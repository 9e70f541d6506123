"""A simulated server whose application sends every message back, and a client: for tests of the sockets."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from realtime.connection.extension import EXTENSION
from realtime.hub.batch import Batch
from tests.simulation import client_sockets
from tests.simulation.client_sockets import ClientProcess, ClientSocket, Connect
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler
from tests.simulation.seams import installed
from tests.simulation.socket_servers import SocketServer


class Flow:
    """A writer of frames as `FramesOutbox` is: what the socket doesn't take at once waits here."""

    def __init__(self, frames: Any) -> None:
        self.waiting: list[bytes] = []
        self.calls: list[str] = []
        self.parts = 0
        """How often the socket took a part."""
        self._frames = frames
        self._send = frames.direct()
        frames.flow = self

    def write(self, wire: bytes) -> None:
        if self._send is None:
            self.waiting.append(wire)
            return
        try:
            sent = self._send(wire)
        except OSError:
            sent = 0
        self.parts += 0 < sent < len(wire)
        if sent < len(wire):
            self._frames.write_rest(wire[sent:])

    def pause_writing(self) -> None:
        self.calls.append("pause")
        self._send = None

    def resume_writing(self) -> None:
        self.calls.append("resume")
        waiting, self.waiting = self.waiting, []
        self._send = self._frames.direct()
        for wire in waiting:
            self.write(wire)

    def stop_sending(self) -> None:
        self.calls.append("stop")
        self._send = None


class Here:
    """A server whose application echoes, and a client. ``ended``: the codes with which connections ended."""

    def __init__(self, *, frames: bool, **options: Any) -> None:
        self.scheduler = Scheduler(1)
        self.network = Network(self.scheduler)
        self.gateway = Process(self.scheduler, self.network, "gateway-1")
        self.server = SocketServer(self.gateway, self.application, frames=frames, **options)
        self.network.listen("gateway-1", 443, self.server.accept)
        self.client = ClientProcess(self.scheduler, self.network, "client-1")
        self.ended: list[int] = []
        self.flows: list[Flow] = []
        self.scopes: list[dict[str, Any]] = []
        self.answers = 0
        self.reads = asyncio.Event()
        self.reads.set()

    async def application(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": None})
        flow = Flow(scope["extensions"][EXTENSION]) if "extensions" in scope else None
        if flow is not None:
            self.flows.append(flow)
        while (message := await receive())["type"] == "websocket.receive":
            await self.reads.wait()
            text = message["text"]
            if text.startswith("close "):
                await send({"type": "websocket.close", "code": int(text[6:])})
            elif text.startswith("burst "):
                for number in range(int(text[6:])):
                    await self._answer(send, flow, f"{number}".rjust(1000, "-"))
            else:
                await self._answer(send, flow, text)
        self.ended.append(message["code"])

    async def _answer(self, send: Any, flow: Flow | None, text: str) -> None:
        if flow is None:
            await send({"type": "websocket.send", "text": text})
            self.answers += 1
        else:
            flow.write(Batch([text.encode()]).wire)

    async def connect(self) -> ClientSocket:
        return await Connect("wss://gateway-1/ws", open_timeout=15, close_timeout=1)

    def run(self, work: Any, seconds: float = 60.0) -> Any:
        task = self.client.start(work, "work")
        self.scheduler.run(self.scheduler.now + seconds)
        return task.result()


@contextmanager
def running(*, frames: bool = True, **options: Any) -> Iterator[Here]:
    here = Here(frames=frames, **options)
    with installed(here.scheduler), client_sockets.installed():
        yield here

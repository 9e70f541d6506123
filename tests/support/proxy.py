"""Run a TCP proxy on the loopback that can stall or reset connections, or silently drop their bytes."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class Proxy:
    """Forward ``port`` to one of ``targets``, tried in turn, all on 127.0.0.1; an async context manager.

    With ``tls`` clients use TLS to the proxy, and the targets need not support it.
    """

    def __init__(self, *targets: int, tls: ssl.SSLContext | None = None) -> None:
        self.targets = targets
        self._tls = tls
        self.port = 0
        self.connected = asyncio.Event()
        """Set by each accepted connection."""
        self._passing = asyncio.Event()
        self._passing.set()
        self._swallowing = False
        self._answers_only = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stall(self) -> None:
        """Hold all bytes until `restore`; none are lost."""
        self._passing.clear()

    def drop_silently(self) -> None:
        """Drop all bytes from now on; current connections never receive anything again."""
        self.connected.clear()
        self._swallowing = True

    def swallow_answers(self) -> None:
        """Drop only the bytes to the clients; bytes from the clients still arrive."""
        self.drop_silently()
        self._answers_only = True

    def restore(self) -> None:
        """Let new connections work and stalled ones continue; connections with dropped bytes stay dead."""
        self._swallowing = self._answers_only = False
        self._passing.set()

    def reset(self) -> None:
        """Break every connection."""
        for writer in list(self._writers):
            with suppress(OSError):
                raw = writer.get_extra_info("socket")
                if raw is not None:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.set()
        self._writers.add(writer)
        for target in self.targets:
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
                break
        else:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(far_writer)
        dead, read = [self._swallowing], self._reader()
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, dead, read, is_answer=False)),
            asyncio.create_task(self._pump(far_reader, writer, dead, read, is_answer=True)),
        ]
        self._tasks.update(pumps)
        for pump in pumps:
            pump.add_done_callback(self._tasks.discard)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, far_writer):
            self._writers.discard(end)
            end.transport.abort()
        for pump in pumps:
            pump.cancel()

    def _reader(self) -> Callable[[bytes, bool], None]:
        """Return the function that receives all bytes of a new connection, and whether the target sent them."""
        return lambda data, is_answer: None

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        dead: list[bool],
        read: Callable[[bytes, bool], None],
        *,
        is_answer: bool,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                read(data, is_answer)
                await self._passing.wait()
                if not is_answer and self._swallowing and self._answers_only:
                    dead[0] = True  # even if no answer was due: the connection receives nothing after `restore`
                elif dead[0] or self._swallowing:
                    dead[0] = True
                    continue
                writer.write(data)
                await writer.drain()

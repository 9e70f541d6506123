"""One socket of a client: JSON frames both ways, and silence that is noticed. The only door to `websockets`."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, WebSocketException
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("chatws.client needs websockets: pip install 'websockets>=15'", name=error.name) from None

from chatws.client.events import Frame, encoded

OPEN_SECONDS = 15.0
WELCOME_SECONDS = 15.0
ANSWER_SECONDS = 10.0
PROBE_SECONDS = 4.0
MOST_WAITING = 2_000
ABNORMAL = 1006
GIVEN_UP = 4000
"""Ours, for a connection whose frames make no sense."""
PING = encoded({"type": "ping", "message_id": "ping"})


class Broken(Exception):
    """There is no connection (any more) at this address; says why. ``code``: the close code."""

    def __init__(self, url: str, why: str, code: int = ABNORMAL) -> None:
        super().__init__(f"{url}: {why}")
        self.code = code


def address(url: str) -> str:
    """The WebSocket's address; ``http`` becomes ``ws``. Raises ValueError for what isn't one."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname or parts.fragment:
        raise ValueError(f"not the address of a WebSocket: {url!r} (it should look like wss://chat.example/ws)")
    return urlunsplit(parts._replace(scheme=scheme))


class Connection:
    """``heartbeat``: seconds that the server may be silent before it is asked; None until it has said so."""

    def __init__(self, url: str, socket: ClientConnection) -> None:
        self.heartbeat: float | None = None
        self._url = url
        self._socket = socket
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
        self._asked = True
        """Whether the end of the patience is the end of the connection."""
        self._patience: asyncio.Timeout | None = None

    @property
    def idle(self) -> bool:
        """Whether all that was written is on its way."""
        return self._waiting.empty()

    def write(self, text: bytes) -> bool:
        """Send a frame soon; False if too much waits already."""
        try:
            self._waiting.put_nowait(text)
        except asyncio.QueueFull:
            return False
        return True

    async def read(self) -> Frame:
        """The next frame. Raises `Broken` if there is none, or none that makes sense, or nothing for too long."""
        self._asked = self.heartbeat is None
        while True:
            seconds = WELCOME_SECONDS if self.heartbeat is None else self.heartbeat
            if self._asked and self.heartbeat:
                seconds = min(seconds, ANSWER_SECONDS)
            try:
                async with asyncio.timeout(seconds) as self._patience:
                    return self._decode(await self._socket.recv())
            except TimeoutError:
                if self._asked:
                    self._socket.transport.abort()
                    raise Broken(self._url, "it is silent") from None
                self._asked = True
                self.write(PING)
            except ConnectionClosed:
                raise Broken(self._url, "the connection ended", self._socket.close_code or ABNORMAL) from None
            finally:
                self._patience = None

    def probe(self) -> None:
        """Ask the server whether it is there; whoever reads hears soon that it isn't."""
        self.write(PING)
        if self._patience is not None:
            self._asked = True
            soon = asyncio.get_running_loop().time() + PROBE_SECONDS
            self._patience.reschedule(min(self._patience.when() or soon, soon))

    async def give_up(self) -> None:
        """End it; the server goes on as if the connection had broken."""
        await self._socket.close(GIVEN_UP)

    async def write_out(self) -> None:
        """Write what waits, for ever."""
        with contextlib.suppress(ConnectionClosed):  # `read` tells
            while True:
                await self._socket.send(await self._waiting.get(), text=True)

    def _decode(self, text: str | bytes) -> Frame:
        try:
            frame = json.loads(text)
        except ValueError:
            frame = None
        if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
            raise Broken(self._url, "what it says is not a frame; is it a chatws gateway?")
        return frame


@contextlib.asynccontextmanager
async def connection(url: str) -> AsyncIterator[Connection]:
    """A connection to the gateway, not authenticated yet. Raises `Broken`."""
    options = connect(
        url, open_timeout=OPEN_SECONDS, ping_interval=None, close_timeout=1, max_size=None, compression=None
    )
    try:
        socket = await options
    except (OSError, WebSocketException, TimeoutError) as error:
        number = getattr(error, "errno", None)
        why = os.strerror(number) if number and number > 0 else str(error) or "no answer"
        raise Broken(url, f"can't connect: {why}") from error
    opened = Connection(url, socket)
    writing = asyncio.create_task(opened.write_out(), name=f"writes to {url}")
    try:
        yield opened
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        await socket.close()

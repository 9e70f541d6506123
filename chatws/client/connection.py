"""One socket of a client: send and receive JSON frames, detect a silent server. The only importer of `websockets`."""

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit, urlunsplit

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("chatws.client needs websockets: pip install 'websockets>=15'", name=error.name) from None

from chatws.client.events import Frame, duration, encoded

OPEN_SECONDS = 15.0
WELCOME_SECONDS = 15.0
ANSWER_SECONDS = 10.0
PROBE_SECONDS = 4.0
MAX_WAITING = 2_000
ABNORMAL = 1006
GIVEN_UP = 4000
"""The close code that this client sends to end a broken connection and resume on a new one."""
PING = encoded({"type": "ping", "message_id": "ping"})


class Broken(Exception):
    """The connection failed or ended; the text has the URL and the reason, ``code`` is the close code.

    ``retry_after``: how long the server asked to wait, in seconds. ``opened``: whether there was a connection.
    """

    def __init__(
        self, url: str, why: str, code: int = ABNORMAL, *, retry_after: float = 0.0, opened: bool = True
    ) -> None:
        super().__init__(f"{url}: {why}")
        self.code = code
        self.retry_after = retry_after
        self.opened = opened


def address(url: str) -> str:
    """Return the WebSocket's URL; ``http`` becomes ``ws``. Raises ValueError for an invalid URL."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"not the address of a WebSocket: {url!r} ({error})") from None
    if scheme not in ("ws", "wss") or not parts.hostname or parts.fragment:
        raise ValueError(f"not the address of a WebSocket: {url!r} (it should look like wss://chat.example/ws)")
    return urlunsplit(parts._replace(scheme=scheme))


class Connection:
    """A connection. ``heartbeat``: seconds of silence before a ping; None until the server has sent the value."""

    def __init__(self, url: str, socket: ClientConnection) -> None:
        self.heartbeat: float | None = None
        self._url = url
        self._socket = socket
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._asked = True
        """Whether the connection ends if the current timeout expires."""
        self._patience: asyncio.Timeout | None = None

    @property
    def idle(self) -> bool:
        """Whether no written frame waits to be sent."""
        return self._waiting.empty()

    def write(self, text: bytes) -> bool:
        """Queue a frame to be sent; False if the queue is full."""
        try:
            self._waiting.put_nowait(text)
        except asyncio.QueueFull:
            return False
        return True

    async def read(self) -> Frame:
        """Return the next frame. Raises `Broken` if the connection ended, timed out or sent an invalid frame."""
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
                    raise Broken(self._url, "the server does not answer") from None
                self._asked = True
                self.write(PING)
            except ConnectionClosed:
                raise Broken(self._url, "the connection ended", self._socket.close_code or ABNORMAL) from None
            finally:
                self._patience = None

    def probe(self) -> None:
        """Ping the server; `read` raises within `PROBE_SECONDS` if there is no answer. Do nothing while one waits."""
        if self._asked:
            return
        self.write(PING)
        if self._patience is not None:
            self._asked = True
            soon = asyncio.get_running_loop().time() + PROBE_SECONDS
            self._patience.reschedule(min(self._patience.when() or soon, soon))

    async def give_up(self) -> None:
        """Close the connection with `GIVEN_UP`."""
        await self._socket.close(GIVEN_UP)

    async def write_out(self) -> None:
        """Send queued frames, until cancelled or the connection ends."""
        with contextlib.suppress(ConnectionClosed):  # `read` reports it
            while True:
                await self._socket.send(await self._waiting.get(), text=True)

    def _decode(self, text: str | bytes) -> Frame:
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            frame = None
        if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
            raise Broken(self._url, "received data that is not a frame; is it a chatws gateway?")
        if not isinstance(frame.get("data"), dict):
            frame["data"] = {}
        return frame


class _Connect(connect):
    """A handshake that follows no redirect, as browsers don't: the token would go to wherever it points."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the error as it is."""
        return exc


HINTS = {
    HTTPStatus.UNAUTHORIZED: "a proxy in front of the gateway asks for a login",
    HTTPStatus.FORBIDDEN: "a proxy in front of the gateway refuses",
    HTTPStatus.NOT_FOUND: "there is no WebSocket at this path",
    HTTPStatus.OK: "what answers there speaks HTTP, not WebSocket",
}


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of the header: a number, or a date, which is compared with the server's own clock."""
    value = headers.get("Retry-After", "")
    try:
        return (parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return duration(value)


def _why(error: Exception) -> str:
    """Return in words why a handshake failed."""
    if isinstance(error, InvalidStatus):
        status, headers = error.response.status_code, error.response.headers
        if "Location" in headers and 300 <= status < 400:
            return f"HTTP {status}, a redirect to {headers['Location']}; it is not followed, use the final address"
        hint = HINTS.get(status, error.response.reason_phrase)  # type: ignore[call-overload]  # any number
        return f"HTTP {status}: {hint}" if hint else f"HTTP {status}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    number = getattr(error, "errno", None)
    if number and number > 0:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error) or "no answer"


@contextlib.asynccontextmanager
async def connection(url: str) -> AsyncIterator[Connection]:
    """Open a connection to the gateway, not authenticated yet, and close it afterwards. Raises `Broken`."""
    options = _Connect(
        url, open_timeout=OPEN_SECONDS, ping_interval=None, close_timeout=1, max_size=None, compression=None
    )
    try:
        socket = await options
    except (OSError, WebSocketException, TimeoutError, ValueError, ImportError) as error:  # the last two: a proxy's URL
        wait = _retry_after(error.response.headers) if isinstance(error, InvalidStatus) else 0.0
        raise Broken(url, f"can't connect: {_why(error)}", retry_after=wait, opened=False) from error
    opened = Connection(url, socket)
    writing = asyncio.create_task(opened.write_out(), name=f"writes to {url}")
    try:
        yield opened
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        await socket.close()

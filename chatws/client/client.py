"""One user's connection, kept up: it comes back, resumes, sends again unchanged, and obeys close codes.

Iterate over it for what happens; `send_message` returns once the message is stored.
"""

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from random import SystemRandom
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from chatws.client.places import Place, Places, Step

logger = logging.getLogger(__name__)
_jitter = SystemRandom()

Frame = dict[str, Any]
Token = str | Callable[[], Awaitable[str]]

HEARTBEAT_SECONDS = 25.0
OPEN_SECONDS = 15.0
MOST_EVENTS = 1_000
TRY_AGAIN = frozenset({429, 500, 503})
"""Errors after which the same frame may succeed."""
UNAUTHENTICATED = 4401
NORMAL, ABNORMAL = 1000, 1006


class Closed(Exception):
    """The connection ended for good. ``code`` is the close code; 44xx: something has to change first."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the server closed with {code}")
        self.code = code


class Refused(Exception):
    """The server refused a frame for good. ``code`` follows HTTP."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Connected:
    """Authenticated, anew or again; ``welcome`` is the `auth_success` frame."""

    welcome: Frame


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone and will be tried again."""

    code: int


@dataclass(frozen=True, slots=True)
class Received:
    """A frame of the server: the publications of each feed in order, gapless and once; others as they come."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Lost:
    """What lay before this place of a feed can't be had: ask for the history."""

    feed: str
    place: Place


Event = Connected | Disconnected | Received | Lost


@dataclass(slots=True)
class _Pending:
    text: str
    answer: asyncio.Future[Frame]


class ChatClient:
    """A connection of one user that survives what happens to connections.

    Used as an async context manager, and iterated over: a program that lets a thousand events lie stops the reading,
    and with it answers to what it sends.

    Args:
        url: The gateway's, e.g. ``wss://chat.example/ws``.
        token: A JWT, or a coroutine function that gets one; that one is called for each connection.
        heartbeat_seconds: How long the server may be silent before it is asked, and again before the connection counts
            as lost; as the server says if None.
        first_wait: Seconds before the second try to connect, doubled for each further one up to ``longest_wait``.
        observer: Called with every frame as it comes, before anything is made of it.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        heartbeat_seconds: float | None = None,
        first_wait: float = 0.5,
        longest_wait: float = 30.0,
        observer: Callable[[Frame], None] | None = None,
    ) -> None:
        self.url = url
        self.places = Places()
        self.repeats = 0
        """Publications that were dropped since they had been received before."""
        self._token = token
        self._heartbeat = heartbeat_seconds
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._observer = observer
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(MOST_EVENTS)
        self._pending: dict[str, _Pending] = {}
        self._sending: dict[str, asyncio.Lock] = {}
        self._socket: ClientConnection | None = None
        self._ready = asyncio.Event()
        self._retry_after = 0.0
        self._task: asyncio.Task[None] | None = None
        self._closed: int | None = None

    async def __aenter__(self) -> "ChatClient":
        self._task = asyncio.create_task(self._run(), name=f"chat client of {self.url}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._iterate()

    async def ready(self) -> None:
        """Return once the connection is authenticated.

        Raises:
            Closed: it ended for good.
        """
        await self._ready.wait()
        if self._closed is not None:
            raise Closed(self._closed)

    async def send_message(self, group_id: str, content: str = "", *, msg_type: int = 1, image_url: str = "") -> str:
        """Send a message; returns its id once it is stored. Sent again, unchanged, until there is an answer.

        Messages to one chat group are sent one after the other, so that they are stored in order.

        Raises:
            Refused: the server won't take it.
            Closed: the connection ended for good before there was an answer.
        """
        data = {"group_id": group_id, "msg_type": msg_type, "content": content, "image_url": image_url}
        async with self._sending.setdefault(group_id, asyncio.Lock()):
            answer = await self.request("send_message", data)
        message_id: str = answer["data"]["message_id"]
        return message_id

    async def join_group(self, group_id: str) -> Frame:
        """Hear a chat group again after `leave_group`; what was said meanwhile follows."""
        place = self.places.get(f"group:{group_id}")
        resume = {"resume": {"epoch": place.epoch, "offset": place.offset}} if place else {}
        return await self.request("join_group", {"group_id": group_id, **resume})

    async def leave_group(self, group_id: str) -> Frame:
        """Stop hearing a chat group on this connection."""
        return await self.request("leave_group", {"group_id": group_id})

    async def request(self, kind: str, data: Frame) -> Frame:
        """Send a frame and return the frame that answers it. Raises like `send_message`."""
        message_id = uuid.uuid4().hex
        frame = {"type": kind, "message_id": message_id, "timestamp": int(time.time()), "data": data}
        pending = _Pending(json.dumps(frame), asyncio.get_running_loop().create_future())
        self._pending[message_id] = pending
        try:
            wait = self._first_wait
            while True:
                await self._write(pending.text)
                if self._closed is not None:
                    raise Closed(self._closed)
                answer = await pending.answer
                if answer["type"] != "error":
                    return answer
                problem = answer["data"]
                if problem["code"] not in TRY_AGAIN:
                    raise Refused(problem["code"], problem["message"])
                pending.answer = asyncio.get_running_loop().create_future()
                await asyncio.sleep(problem.get("retry_after", 0) or _jitter.uniform(0, wait))
                wait = min(2 * wait, self._longest_wait)
        finally:
            del self._pending[message_id]

    async def close(self) -> None:
        """Say goodbye."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._end(NORMAL)

    async def _iterate(self) -> AsyncIterator[Event]:
        while (event := await self._events.get()) is not None:
            self._room.release()
            yield event
        if self._closed not in (None, NORMAL):
            raise Closed(self._closed or ABNORMAL)

    async def _run(self) -> None:
        wait = self._first_wait
        refused = 0
        while True:
            try:
                code = await self._connection()
            except (OSError, WebSocketException, TimeoutError, json.JSONDecodeError) as error:
                logger.debug("the connection to %s failed: %s", self.url, error)
                code = ABNORMAL
            was_ready = self._ready.is_set()
            self._ready.clear()
            self._socket = None
            refused = refused + 1 if code == UNAUTHENTICATED and not was_ready else 0
            fresh_token = code == UNAUTHENTICATED and not isinstance(self._token, str) and refused < 3
            if code == NORMAL or (4400 <= code < 4500 and not fresh_token):
                self._end(code)
                return
            await self._tell(Disconnected(code))
            wait = self._first_wait if was_ready else min(2 * wait, self._longest_wait)
            await asyncio.sleep(self._retry_after + _jitter.uniform(wait / 2, wait))
            self._retry_after = 0.0

    async def _connection(self) -> int:
        """One connection, from its opening to its end; the close code."""
        async with connect(
            self.url, open_timeout=OPEN_SECONDS, ping_interval=None, close_timeout=1, max_size=None, compression=None
        ) as socket:
            try:
                token = self._token if isinstance(self._token, str) else await self._token()
                data = {"token": token, "resume": self.places.resume()}
                auth = {"type": "auth", "message_id": uuid.uuid4().hex, "timestamp": int(time.time()), "data": data}
                await socket.send(json.dumps(auth))
                await self._read(socket)
            except ConnectionClosed:
                pass
            return socket.close_code or ABNORMAL

    async def _read(self, socket: ClientConnection) -> None:
        heartbeat = self._heartbeat or HEARTBEAT_SECONDS
        asked = False
        while True:
            try:
                async with asyncio.timeout(heartbeat):
                    text = await socket.recv()
            except TimeoutError:
                if asked:
                    logger.debug("%s is silent", self.url)
                    socket.transport.abort()
                    return
                asked = True
                await socket.send(json.dumps({"type": "ping"}))
                continue
            asked = False
            frame: Frame = json.loads(text)
            if self._observer is not None:
                self._observer(frame)
            if frame["type"] == "auth_success" and self._heartbeat is None:
                heartbeat = frame["data"].get("heartbeat_seconds", HEARTBEAT_SECONDS)
            if not await self._take(frame, socket):
                return

    async def _take(self, frame: Frame, socket: ClientConnection) -> bool:
        """Make of a frame what it means; False if the connection has to be given up."""
        kind, data = frame["type"], frame.get("data", {})
        if "offset" in frame:
            return await self._publication(frame)
        if kind == "auth_success":
            for place in data.get("feeds", ()):
                await self._told(place)
            if "feeds" in data:
                await self._tell(Connected(frame))
                self._socket = socket
                for pending in list(self._pending.values()):
                    if not pending.answer.done():
                        await socket.send(pending.text)
                self._ready.set()
                return True
        elif kind in ("feed_reset", "group_joined"):
            await self._told(data)
        elif kind in ("error", "shutdown") and "retry_after" in data:
            self._retry_after = float(data["retry_after"])
        pending_answer = self._pending.get(frame.get("message_id", ""))
        if pending_answer is not None and not pending_answer.answer.done():
            self._retry_after = 0.0
            pending_answer.answer.set_result(frame)
        await self._tell(Received(frame))
        return True

    async def _publication(self, frame: Frame) -> bool:
        publication_id = frame["message_id"] if frame["type"] in ("new_message", "notification") else ""
        step = self.places.step(frame["feed"], frame["epoch"], frame["offset"], publication_id)
        if step is Step.GAP:
            logger.warning("%s: a gap before offset %d, resuming", frame["feed"], frame["offset"])
            return False
        if step is Step.NEXT:
            await self._tell(Received(frame))
        else:
            self.repeats += 1
        return True

    async def _tell(self, event: Event) -> None:
        await self._room.acquire()
        self._events.put_nowait(event)

    async def _told(self, place: Frame) -> None:
        feed, epoch, offset = place["feed"], place["epoch"], place["offset"]
        if self.places.told(feed, epoch, offset, place.get("recovered")):
            await self._tell(Lost(feed, Place(epoch, offset)))

    async def _write(self, text: str) -> None:
        socket = self._socket
        if socket is not None:
            with contextlib.suppress(WebSocketException):  # it is sent again once there is another connection
                await socket.send(text)

    def _end(self, code: int) -> None:
        if self._closed is not None:
            return
        self._closed = code
        self._ready.set()
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(Closed(code))
        self._events.put_nowait(None)

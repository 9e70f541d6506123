"""A client that keeps one user connected: it reconnects, resumes, repeats unanswered frames and obeys close codes.

Iterate over it to receive events; `send_message` returns once the message is stored. It behaves like chatws.js.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from chatws.client.backoff import Backoff
from chatws.client.connection import ABNORMAL, Broken, Connection, address, connection
from chatws.client.events import Closed, Connected, Disconnected, Event, Frame, Lost, Received, duration, encoded
from chatws.client.history import older_messages
from chatws.client.positions import Position, Positions, Step
from chatws.client.reports import Reports
from chatws.client.requests import Requests
from chatws.client.tokens import NoToken, TokenFunction, Tokens

logger = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 25.0
STEADY_SECONDS = 10.0
"""A connection that was authenticated this long resets the back-off."""
NEXT_SECOND = 2.0
"""Wait after a revocation: a token issued in the same second is revoked, too."""
MAX_EVENTS = 1_000
NORMAL, TOO_BIG, UNAUTHENTICATED, TOO_FAST = 1000, 1009, 4401, 4529


class ChatClient:
    """A client of one user that reconnects by itself.

    Use it as an async context manager and iterate over its events. With 1,000 unread events it stops reading the
    socket, so that replies to sent frames do not arrive either.

    Args:
        url: The gateway's URL, e.g. ``wss://chat.example/ws``.
        token: A JWT, or a coroutine function that returns one (`TokenFunction`). It is called for each connection, and
            before the token expires.
        positions: Where to resume: ``positions.all()`` of an earlier client of the same user.
        heartbeat_seconds: How long the server may be silent before a ping; None: the server's value.
        first_wait: Longest wait in seconds before the second attempt to connect, doubled for each further one up to
            ``longest_wait``.
        token_timeout: How long the token function may take, in seconds.
        observer: Called with every received frame, before it is processed; its errors are logged.

    Raises:
        ValueError: ``url`` is not a WebSocket URL.
    """

    def __init__(
        self,
        url: str,
        token: str | TokenFunction,
        *,
        positions: Mapping[str, Position] | None = None,
        heartbeat_seconds: float | None = None,
        first_wait: float = 0.5,
        longest_wait: float = 30.0,
        token_timeout: float = 20.0,
        observer: Callable[[Frame], None] | None = None,
    ) -> None:
        self.url = address(url)
        self.positions = Positions(positions)
        self.repeats = 0
        """How many publications were dropped because they had been received before."""
        self._tokens = Tokens(token, token_timeout)
        self._heartbeat = heartbeat_seconds
        self._backoff = Backoff(first_wait, longest_wait)
        self._reports = Reports(self.url, observer)
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(MAX_EVENTS)
        self._requests = Requests(self._write, self._backoff.window, self.positions)
        self._connection: Connection | None = None
        self._ready = asyncio.Event()
        self._ready_at = 0.0
        self._why: Frame = {}
        """Data of the last `auth_failed`, or of the last error that was not a reply."""
        self._types = True  # until the server answers that it doesn't know `typing`
        self._task: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._closed: Closed | None = None

    async def __aenter__(self) -> "ChatClient":
        self._task = asyncio.create_task(self._run(), name=f"chat client of {self.url}")
        self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self._events.get()) is not None:
            self._room.release()
            yield event
        if self._closed is not None and self._closed.code != NORMAL:
            raise self._closed.again()

    @property
    def pending(self) -> list[Frame]:
        """Frames without a reply, in order."""
        return self._requests.frames

    async def ready(self) -> None:
        """Wait until the connection is authenticated. Raises `Closed` if the client has ended."""
        await self._ready.wait()
        if self._closed is not None:
            raise self._closed.again()

    def hurry(self) -> None:
        """Reconnect now if the server allows it; if connected, check that the connection is alive."""
        self._backoff.hurry()
        if self._connection is not None:
            self._connection.probe()

    async def send_message(self, group_id: str, content: str = "", *, msg_type: int = 1, image_url: str = "") -> str:
        """Send a message and return its id once it is stored; repeat it unchanged until there is a reply.

        Messages to one chat group are sent one after the other, so that they are stored in order.

        Raises:
            Refused: the server rejected it, or 1,000 frames already wait.
            Closed: the client ended before there was a reply.
        """
        data = {"group_id": group_id, "msg_type": msg_type, "content": content, "image_url": image_url}
        return str((await self.request("send_message", data))["message_id"])

    async def mark_read(self, group_id: str, message_id: str) -> None:
        """Mark the group as read by this user, up to this message."""
        await self.request("mark_read", {"group_id": group_id, "message_id": message_id})

    async def history(
        self, group_id: str, *, before: str = "", known: Sequence[Mapping[str, Any]] = (), limit: int = 50
    ) -> Frame:
        """Return messages before an id: ``{"messages": newest first, "has_more": bool}``.

        With ``known``, the messages that the caller already has, newest first, return those before the oldest of them,
        without a gap.
        """

        async def ask(before_id: str, limit: int) -> Frame:
            return await self.request("history", {"group_id": group_id, "before_id": before_id, "limit": limit})

        return await (older_messages(ask, known, limit) if known else ask(before, limit))

    async def presence(self, group_id: str) -> Frame:
        """Return which members of a group are online: ``{"users": [{"user_id", "connections", "last_seen"}]}``."""
        return await self.request("presence", {"group_id": group_id})

    async def join(self, group_id: str) -> Frame:
        """Subscribe to a chat group again after `leave`; the missed publications follow."""
        return await self.request("join_group", {"group_id": group_id})

    async def leave(self, group_id: str) -> Frame:
        """Unsubscribe this connection from a chat group; the next connection is subscribed to all again."""
        return await self.request("leave_group", {"group_id": group_id})

    def typing(self, group_id: str, typing: bool = True) -> None:
        """Notify the other members; do nothing without a connection, or if the server does not support it."""
        opened = self._connection
        if opened is not None and opened.idle and self._types:
            data = {"group_id": group_id, "typing": typing}
            opened.write(encoded({"type": "typing", "message_id": "typing", "data": data}))

    async def request(self, kind: str, data: Frame) -> Frame:
        """Send a frame and return the data of its reply.

        Raises like `send_message`; TypeError or ValueError for data that cannot be encoded as JSON in UTF-8.
        """
        frame = {"type": kind, "message_id": uuid.uuid4().hex, "timestamp": int(time.time()), "data": data}
        return await self.resend(frame)

    async def resend(self, frame: Frame) -> Frame:
        """Send a frame from `pending` or from an error again: the server stores a message only once."""
        if self._closed is not None:
            raise Closed(self._closed.code, "the client has ended", frame=frame)
        return dict((await self._requests.ask(frame))["data"])

    async def close(self) -> None:
        """Close the connection; calls that wait for a reply raise `Closed`."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._end(NORMAL, "closed by the application")

    async def _run(self) -> None:
        while True:
            gone = await self._attempt()
            online = self._ready.is_set()
            self._ready.clear()
            self._connection = None
            if gone.code == TOO_BIG:
                self._requests.refuse_largest()
            self._requests.rewind()
            if self._is_final(gone):
                self._end(gone.code, gone.message, gone.reason)
                return
            self._tokens.stale |= gone.code == UNAUTHENTICATED and gone.reason != "timeout"
            if gone.reason == "revoked":
                self._backoff.wait_for(NEXT_SECOND)
            if online and time.monotonic() - self._ready_at > STEADY_SECONDS:
                self._backoff.failures = 0
            failures = self._backoff.failures
            self._backoff.failures = max(failures, 9) if gone.code == TOO_FAST else failures + 1
            await self._tell(gone)
            await self._backoff.pause()

    async def _attempt(self) -> Disconnected:
        """Connect, authenticate and read until the connection ends; return how it ended."""
        self._why = {}
        try:
            token = await self._tokens.bring(fresh=self._tokens.stale)
            if not token:
                return Disconnected(UNAUTHENTICATED, "there is no token", "missing")
            async with connection(self.url) as opened:
                self._auth(opened, {"token": token, "resume": self.positions.resume()})
                await self._read(opened)
        except NoToken as error:
            self._reports.unreachable(f"{self.url}: {error}")
            return Disconnected(ABNORMAL, str(error), "token")
        except Broken as error:
            self._backoff.wait_for(error.retry_after)
            if not error.opened:
                self._reports.unreachable(str(error))
                return Disconnected(error.code, str(error), "unreachable")
            return Disconnected(error.code, self._why.get("message", str(error)), self._why.get("reason", ""))
        finally:
            self._stop_renewing()
        return Disconnected(ABNORMAL, f"{self.url}: a gap in a feed")

    async def _read(self, opened: Connection) -> None:
        """Read frames until the connection breaks, or a gap makes the client close it."""
        while True:
            frame = await opened.read()
            self._reports.observe(frame)
            if not await self._take(frame, opened):
                await opened.give_up()
                return

    async def _take(self, frame: Frame, opened: Connection) -> bool:
        """Process a frame; return False if the connection has to be closed and resumed."""
        if "offset" in frame:
            return await self._publication(frame)
        kind, data = frame["type"], frame.get("data", {})
        answered = self._requests.answer(frame)
        if kind == "auth_success":
            self._tokens.accepted(data.get("expires_at"), frame.get("timestamp"))
            self._renew(opened)
            if self._connection is None:
                await self._authenticated(frame, data, opened)
                return True
        elif "epoch" in data:
            await self._reported(data)
        elif kind == "auth_failed":
            self._why = data
        elif kind == "shutdown":
            self._backoff.wait_for(data.get("retry_after"))
        elif kind == "error" and not answered:
            if frame.get("message_id") == "typing":
                self._types &= data.get("code") not in (400, 501)
                return True
            self._why = data
            self._backoff.wait_for(data.get("retry_after"))
        if kind != "new_message" or self.positions.is_new(frame.get("message_id", "")):
            await self._tell(Received(frame))
        return True

    async def _authenticated(self, frame: Frame, data: Frame, opened: Connection) -> None:
        opened.heartbeat = self._heartbeat or max(1.0, duration(data.get("heartbeat_seconds")) or HEARTBEAT_SECONDS)
        self._reports.online()
        self._ready_at = time.monotonic()
        await self._tell(Connected(frame))
        feeds = data.get("feeds") or ()
        for position in feeds:
            await self._reported(position)
        self.positions.prune({position["feed"] for position in feeds})
        self._connection = opened
        self._ready.set()
        self._requests.pump()

    async def _publication(self, frame: Frame) -> bool:
        publication_id = frame["message_id"] if frame["type"] in ("new_message", "notification") else ""
        step = self.positions.step(frame["feed"], frame["epoch"], frame["offset"], publication_id)
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

    async def _reported(self, position: Frame) -> None:
        feed, epoch, offset = position["feed"], position["epoch"], position["offset"]
        if self.positions.report(feed, epoch, offset, position.get("recovered")):
            await self._tell(Lost(feed, Position(epoch, offset)))

    def _renew(self, opened: Connection) -> None:
        self._stop_renewing()
        self._renewal = asyncio.create_task(self._bring_fresh_tokens(opened), name=f"tokens for {self.url}")

    def _stop_renewing(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    async def _bring_fresh_tokens(self, opened: Connection) -> None:
        while (seconds := self._tokens.renewal()) is not None:
            await asyncio.sleep(seconds)
            with contextlib.suppress(NoToken):  # there is time to retry
                if token := await self._tokens.bring(fresh=True):
                    self._auth(opened, {"token": token})

    def _auth(self, opened: Connection, data: Frame) -> None:
        opened.write(encoded({"type": "auth", "message_id": "auth", "timestamp": int(time.time()), "data": data}))

    def _write(self, text: bytes) -> bool:
        return self._connection is not None and self._connection.write(text)

    def _is_final(self, gone: Disconnected) -> bool:
        if gone.code == UNAUTHENTICATED and gone.reason != "timeout":
            return gone.reason == "missing" or self._tokens.stale or not self._tokens.can_be_fresh
        return gone.code == NORMAL or (4400 <= gone.code < 4500 and gone.code != UNAUTHENTICATED)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """End the client as its task has failed, or as the program has cancelled it; `close` ends it itself."""
        if task.cancelled():
            if self._task is not None:
                self._end(ABNORMAL, "the client's task was cancelled")
        elif (error := task.exception()) is not None:
            logger.error("the client of %s failed", self.url, exc_info=error)
            self._end(ABNORMAL, f"the client failed: {error!r}")

    def _end(self, code: int, message: str, reason: str = "") -> None:
        if self._closed is not None:
            return
        self._closed = Closed(code, message, reason=reason)
        self._ready.set()
        self._requests.end(code, message, reason)
        self._events.put_nowait(None)

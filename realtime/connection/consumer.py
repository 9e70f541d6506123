"""Run one WebSocket connection: accept, deadline, frames, token expiry, audit, end.

Frames are served in order, one at a time. The exception: while one takes longer than a second or two, the next frames
are read into a queue, and a `ping` among them is answered at once (behind the reply, while a reply is held).

Unlike a usual Channels consumer it has no channel and joins no Channels group: the hub joins them once for the whole
process. What frames mean is up to the `ConnectionHandler`.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from channels.consumer import AsyncConsumer

from realtime.aio import tasks
from realtime.auth.principal import Principal
from realtime.close_codes import CloseCode, label_of
from realtime.connection.asgi_outbox import AsgiOutbox
from realtime.connection.extension import EXTENSION
from realtime.connection.frames_outbox import FramesOutbox
from realtime.connection.handler import (
    BinaryFrame,
    ConnectionHandler,
    FrameFailed,
    OriginRefused,
    Restarting,
    TokenExpired,
    TooFast,
)
from realtime.connection.handshake import Handshake
from realtime.connection.outbox import Outbox
from realtime.connection.rate_limit import FrameLimit
from realtime.exceptions import AuthenticationError
from realtime.ids import new_connection_id
from realtime.node.node import Node
from realtime.observability import log_context, metrics

logger = logging.getLogger(__name__)

CLOCK_SECONDS = 60.0
"""How often the expiry is looked at, at least: a token expires by the wall clock, which may be set meanwhile."""
MAX_AHEAD = 16
"""Frames that are read while one is served. More wait in the server."""


class Connection(AsyncConsumer):  # type: ignore[misc]  # channels has no types
    """One connection. ``user_id`` is 0 until it has authenticated. ``handler`` makes the application's side of it."""

    def __init__(self, node: Node, handler: Callable[["Connection"], ConnectionHandler]) -> None:
        self.node = node
        self.connection_id = new_connection_id()
        self.principal: Principal | None = None
        self.user_id = 0
        self.frames_in = 0
        self.bytes_in = 0
        self._make_handler = handler
        self._bad_frames: deque[float] | None = None
        self._limit: FrameLimit | None = None
        self._failures = 0
        self._is_admitted = False
        self._timer: asyncio.TimerHandle | None = None
        self._ahead: asyncio.Queue[dict[str, Any]] | None = None
        self._reading_ahead: asyncio.Task[None] | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve the connection until it ends. No channel, task or database connection is kept for it."""
        log_context.connection_id.set(self.connection_id)  # in the context of this connection's task
        self.scope = scope
        self.handshake: Handshake = scope["handshake"]
        self._receive = receive
        frames, limit = (scope.get("extensions") or {}).get(EXTENSION), self.node.conf.outbox_bytes
        self.outbox: Outbox = AsgiOutbox(send, limit) if frames is None else FramesOutbox(frames, limit)
        self.handler = self._make_handler(self)
        code: int = CloseCode.ABNORMAL
        try:
            await receive()  # websocket.connect
            await send({"type": "websocket.accept", "subprotocol": self.handshake.subprotocol})
            await self._opened()
            while (message := await self._next())["type"] != "websocket.disconnect":
                if self.outbox.closing is None:
                    self.node.serving[self] = None
                    await self.dispatch(message)
                    self.node.serving.pop(self, None)
            code = message.get("code") or CloseCode.ABNORMAL
        except asyncio.CancelledError:  # the server stops
            self.outbox.close(CloseCode.RESTARTING)
            raise
        finally:
            self._ended(code)

    # Frames

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Serve one frame. An exception is logged and reported to the client; the second in a row closes."""
        try:
            await self._serve(message)
            self._failures = 0
        except Exception:  # a boundary: an error in serving one frame must not end the connection
            logger.exception("a frame of connection %s (user %d) failed", self.connection_id, self.user_id)
            self._failures += 1
            self.handler.notify(FrameFailed(message.get("text") or ""))
            if self._failures >= 2:
                self.close(CloseCode.INTERNAL_ERROR)

    async def _serve(self, message: dict[str, Any]) -> None:
        text, size = message.get("text"), _size_of(message)
        self.frames_in += 1
        self.bytes_in += size
        if self._limit is None:
            self._limit = FrameLimit(self.node.conf)
        excess = self._limit.take(size)
        if excess is not None:
            metrics.refusals.labels(excess.limit).inc()
            self.handler.notify(TooFast(text or "", excess.wait))
            if self._limit.exceeded():
                self.close(CloseCode.RATE_LIMITED)
        elif text is None:
            self.handler.notify(BinaryFrame())
            self.count_bad_frame()
        else:
            await self.handler.frame_received(text, size)

    async def _next(self) -> dict[str, Any]:
        return await (self._receive() if self._ahead is None else self._ahead.get())

    def read_ahead(self) -> None:
        """Serve frames that can overtake, from now on, while an earlier frame is still being served."""
        if self._ahead is None:
            self._ahead = asyncio.Queue(MAX_AHEAD)
            self._reading_ahead = tasks.spawn(self._read_ahead(self._ahead), "reading ahead")

    async def _read_ahead(self, ahead: asyncio.Queue[dict[str, Any]]) -> None:
        log_context.connection_id.set(self.connection_id)
        log_context.user_id.set(self.user_id)
        try:
            while (message := await self._receive())["type"] != "websocket.disconnect":
                if self.outbox.closing is None and self.handler.can_overtake(message.get("text") or ""):
                    await self.dispatch(message)
                else:
                    await ahead.put(message)
        except Exception:  # a boundary: the task that serves frames has to end as well
            await ahead.put({"type": "websocket.disconnect"})
            raise
        await ahead.put(message)

    def count_bad_frame(self) -> None:
        """Count an unreadable or binary frame; ``bad_frames_per_minute`` of them in a minute close with 4400."""
        now = time.monotonic()
        limit = self.node.conf.bad_frames_per_minute
        if self._bad_frames is None:
            self._bad_frames = deque(maxlen=limit)
        self._bad_frames.append(now)
        if len(self._bad_frames) == limit and now - self._bad_frames[0] < 60:
            self.close(CloseCode.BAD_FRAMES)

    # The user

    async def authenticate(self, token: str) -> Principal:
        """Return the principal of a valid token; raises `AuthenticationError` or `TransientError`."""
        return await self.node.authenticate(token)

    def identify(self, principal: Principal, auth_method: str) -> None:
        """Make the connection this user's. ``auth_method`` is how the token came."""
        self.user_id = principal.user_id
        log_context.user_id.set(self.user_id)
        self.renew(principal)
        self.node.users[self.user_id] += 1
        metrics.authentications.labels(auth_method, "ok").inc()
        self.node.presence.opened(self.user_id, self.connection_id)
        self.node.audit.authenticated(self.connection_id, user_id=self.user_id, way=auth_method)

    def renew(self, principal: Principal) -> None:
        """Keep the connection as long as this token is accepted: until its expiry and the leeway have passed."""
        self.principal = principal
        self._schedule(min(self._seconds_left(), CLOCK_SECONDS), self._check_expiry)

    def stop_deadline(self) -> None:
        """Stop the time that the client has to authenticate: its token has come."""
        if self.principal is None:
            self._cancel_timer()

    def recheck(self) -> None:
        """Close the connection if its token has been revoked."""
        if self.principal is not None and self.node.revocations.is_revoked(self.principal):
            metrics.authentications.labels("recheck", "revoked").inc()
            self._refuse(AuthenticationError("revoked", "the token has been revoked"))

    # Closing

    def close(self, code: int) -> None:
        """Close the connection behind what has been written."""
        self.outbox.close(code)

    def send_away(self, retry_after: int) -> None:
        """Close the connection because the process ends; the client should reconnect after so many seconds."""
        self.handler.notify(Restarting(retry_after))
        self.close(CloseCode.RESTARTING)

    def _refuse(self, error: AuthenticationError) -> None:
        self.handler.notify(error)
        self.close(CloseCode.UNAUTHENTICATED)

    # Beginning and end

    async def _opened(self) -> None:
        self.node.connections[self.connection_id] = self
        refusal = self.node.admission.enter(self.handshake.address)
        if self.node.draining:
            self.send_away(1)
        elif refusal is not None:
            metrics.refusals.labels(refusal.reason).inc()
            self.handler.notify(refusal)
            self.close(CloseCode.AT_LIMIT)
        else:
            self._is_admitted = True
            await self._admitted()

    async def _admitted(self) -> None:
        handshake = self.handshake
        self.node.audit.opened(
            self.connection_id, address=handshake.address, user_agent=handshake.user_agent,
            is_authenticated=handshake.principal is not None and handshake.origin_allowed,
        )  # fmt: skip
        if not handshake.origin_allowed:
            self.handler.notify(OriginRefused())
            self.close(CloseCode.FORBIDDEN)
        elif isinstance(handshake.failure, AuthenticationError):
            metrics.authentications.labels(handshake.auth_method, handshake.failure.reason).inc()
            self._refuse(handshake.failure)
        elif handshake.failure is not None:
            self.handler.notify(handshake.failure)
            self.close(CloseCode.RESTARTING)
        elif handshake.principal is not None:
            await self._welcome(handshake.principal)
        else:
            self._schedule(self.node.conf.auth_timeout, self._deadline_passed)

    async def _welcome(self, principal: Principal) -> None:
        try:
            await self.handler.authenticated(principal)
            self.recheck()  # a revocation that came before `identify` did not reach this connection
        except Exception:  # a boundary: the client gets an error before the connection is closed
            logger.exception("welcoming connection %s failed", self.connection_id)
            self.handler.notify(FrameFailed())
            self.close(CloseCode.INTERNAL_ERROR)

    def _ended(self, code: int) -> None:
        node = self.node
        self._cancel_timer()
        node.serving.pop(self, None)
        if self._reading_ahead is not None:
            self._reading_ahead.cancel()
        code = self.outbox.closing or code
        self.outbox.discard()
        try:
            self.handler.closed()
        finally:
            self._account(code)

    def _account(self, code: int) -> None:
        """Remove the connection from everything that counts it."""
        node = self.node
        if node.connections.pop(self.connection_id, None) is None:
            return
        node.admission.leave(self.handshake.address)
        metrics.closes.labels(label_of(code)).inc()
        if self.user_id:
            node.users[self.user_id] -= 1
            if not node.users[self.user_id]:
                del node.users[self.user_id]
        if not node.connections:
            node.empty.set()
        if not self._is_admitted:
            return
        if self.user_id:
            node.presence.closed(self.user_id, self.connection_id)
        node.audit.closed(
            self.connection_id, code=code, frames_in=self.frames_in, frames_out=self.outbox.frames,
            bytes_in=self.bytes_in, bytes_out=self.outbox.size,
        )  # fmt: skip

    # The timer: until the client authenticates, then until its token expires

    def _deadline_passed(self) -> None:
        metrics.authentications.labels("frame", "timeout").inc()
        self._refuse(AuthenticationError("timeout", f"not authenticated within {self.node.conf.auth_timeout:g} s"))

    def _check_expiry(self) -> None:
        left = self._seconds_left()
        if left > 0:
            self._schedule(min(left, CLOCK_SECONDS), self._check_expiry)
            return
        self.handler.notify(TokenExpired())
        self.close(CloseCode.UNAUTHENTICATED)

    def _seconds_left(self) -> float:
        return self.principal.expires_at + self.node.conf.jwt_leeway - time.time() if self.principal else 0

    def _schedule(self, seconds: float, then: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(max(seconds, 0), then)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _size_of(message: dict[str, Any]) -> int:
    """Return the bytes of a frame's content."""
    text = message.get("text")
    if text is None:
        return len(message.get("bytes") or b"")
    return len(text) if text.isascii() else len(text.encode())

"""One socket's life: accept, deadline, frames one at a time, delivery, expiry, audit, end.

While one frame takes long, others are read ahead, so that a client's heartbeat is answered all the same.

A Channels consumer without a channel of its own: the hub hears the groups for all sockets of the process. What the
frames mean is the subclass's.
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
from realtime.connection.handshake import Handshake
from realtime.connection.outbox import Outbox
from realtime.connection.rate_limit import FrameLimit
from realtime.exceptions import AuthenticationError, TransientError
from realtime.feeds.log import Position
from realtime.hub.batch import Batch
from realtime.ids import new_connection_id
from realtime.node.admission import Refusal
from realtime.node.node import Node
from realtime.observability import log_context, metrics

logger = logging.getLogger(__name__)

MOST_AHEAD = 16
"""So many frames are read while one is served; more wait with the server."""


class DeliveryConsumer(AsyncConsumer):  # type: ignore[misc]  # channels has no types
    """One connection. ``user_id`` is 0 until it has authenticated."""

    deliver: Callable[[Batch], None]
    """Frames of one feed, in order."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.connection_id = new_connection_id()
        self.principal: Principal | None = None
        self.user_id = 0
        self.frames_in = 0
        self.bytes_in = 0
        self._bad_frames: deque[float] | None = None
        self._limit: FrameLimit | None = None
        self._failures = 0
        self._is_admitted = False
        self._timer: asyncio.TimerHandle | None = None
        self._ahead: asyncio.Queue[dict[str, Any]] | None = None
        self._reading_ahead: asyncio.Task[None] | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve the socket until it is gone. No channel, no task and no database: the loop waits for frames only."""
        log_context.connection_id.set(self.connection_id)  # this task's alone
        self.scope = scope
        self.handshake: Handshake = scope["handshake"]
        self._receive = receive
        frames, limit = (scope.get("extensions") or {}).get(EXTENSION), self.node.conf.outbox_bytes
        self.outbox: Outbox = AsgiOutbox(send, limit) if frames is None else FramesOutbox(frames, limit)
        self.deliver = self.outbox.write
        code: int = CloseCode.ABNORMAL
        try:
            await receive()  # websocket.connect
            await send({"type": "websocket.accept", "subprotocol": self.handshake.subprotocol})
            await self._opened()
            while (message := await self._next())["type"] != "websocket.disconnect":
                if self.outbox.closing is None:
                    self.node.serving.add(self)
                    await self.dispatch(message)
                    self.node.serving.discard(self)
            code = message.get("code") or CloseCode.ABNORMAL
        except asyncio.CancelledError:  # the server stops
            self.outbox.close(CloseCode.RESTARTING)
            raise
        finally:
            self._ended(code)

    async def _next(self) -> dict[str, Any]:
        return await (self._receive() if self._ahead is None else self._ahead.get())

    def read_ahead(self) -> None:
        """A frame takes long: from now on, what needs no turn is served while others wait for theirs."""
        if self._ahead is None:
            self._ahead = asyncio.Queue(MOST_AHEAD)
            self._reading_ahead = tasks.spawn(self._read_ahead(self._ahead), "reading ahead")

    async def _read_ahead(self, ahead: asyncio.Queue[dict[str, Any]]) -> None:
        log_context.connection_id.set(self.connection_id)
        log_context.user_id.set(self.user_id)
        try:
            while (message := await self._receive())["type"] != "websocket.disconnect":
                if self.outbox.closing is None and self.needs_no_turn(message.get("text") or ""):
                    await self.dispatch(message)
                else:
                    await ahead.put(message)
        except Exception:
            await ahead.put({"type": "websocket.disconnect"})
            raise
        await ahead.put(message)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Serve one frame; what goes wrong in it is ours: it is told, and twice in a row ends the connection."""
        text = message.get("text")
        self.frames_in += 1
        if text is None:
            size = len(message.get("bytes") or b"")
        elif text.isascii():
            size = len(text)
        else:
            size = len(text.encode())
        self.bytes_in += size
        if self._limit is None:
            self._limit = FrameLimit(self.node.conf)
        excess = self._limit.take(size)
        try:
            if excess is not None:
                metrics.refusals.labels(excess.limit).inc()
                self.too_fast(text or "", excess.wait)
                if self._limit.exceeded():
                    self.close(CloseCode.RATE_LIMITED)
            elif text is None:
                self.binary_received()
            else:
                await self.frame_received(text, size)
            self._failures = 0
        except Exception:
            logger.exception("a frame of connection %s (user %d) failed", self.connection_id, self.user_id)
            self._failures += 1
            self.failed()
            if self._failures >= 2:
                self.close(CloseCode.INTERNAL_ERROR)

    # What the subclass says

    async def frame_received(self, text: str, size: int) -> None:
        """Serve a text frame of so many bytes."""
        raise NotImplementedError

    def needs_no_turn(self, text: str) -> bool:
        """Whether a text frame may be served before others that came earlier; nothing in it waits."""
        raise NotImplementedError

    async def handshake_authenticated(self, principal: Principal) -> None:
        """Welcome a socket that brought its token in the handshake."""
        raise NotImplementedError

    def binary_received(self) -> None:
        """Answer a binary frame."""
        raise NotImplementedError

    def too_fast(self, text: str, wait: float) -> None:
        """Say that a frame isn't served: the next may come in ``wait`` seconds."""
        raise NotImplementedError

    def not_admitted(self, refusal: Refusal) -> None:
        """Say why the socket can't stay; it is closed next."""
        raise NotImplementedError

    def unavailable(self, error: TransientError) -> None:
        """Say what is away; the socket is closed next."""
        raise NotImplementedError

    def restarting(self, retry_after: int) -> None:
        """Say that the process ends; the socket is closed next."""
        raise NotImplementedError

    def failed(self) -> None:
        """Say that serving a frame failed."""
        raise NotImplementedError

    def refused(self, error: AuthenticationError) -> None:
        """Say why the socket isn't authenticated; it is closed next."""
        raise NotImplementedError

    def origin_refused(self) -> None:
        """Say that the page's origin isn't allowed; the socket is closed next."""
        raise NotImplementedError

    def token_expired(self) -> None:
        """Say that the token has expired; the socket is closed next."""
        raise NotImplementedError

    # What the subclass and the node use

    def identify(self, principal: Principal, way: str) -> None:
        """The connection is this user's from now on; ``way`` is how the token came."""
        self.user_id = principal.user_id
        log_context.user_id.set(self.user_id)
        self.renew(principal)
        self.node.users[self.user_id] += 1
        metrics.authentications.labels(way, "ok").inc()
        self.node.presence.opened(self.user_id, self.connection_id)
        self.node.audit.authenticated(self.connection_id, user_id=self.user_id, way=way)

    def renew(self, principal: Principal) -> None:
        """The connection lives until this token expires."""
        self.principal = principal
        self._schedule(principal.expires_at - time.time(), self._check_expiry)

    def stop_deadline(self) -> None:
        """The client has done its part: no longer count the time until it authenticates."""
        if self.principal is None:
            self._cancel_timer()

    def count_bad_frame(self) -> None:
        """The twentieth bad frame in a minute closes the connection."""
        now = time.monotonic()
        limit = self.node.conf.bad_frames_per_minute
        if self._bad_frames is None:
            self._bad_frames = deque(maxlen=limit)
        self._bad_frames.append(now)
        if len(self._bad_frames) == limit and now - self._bad_frames[0] < 60:
            self.close(CloseCode.BAD_FRAMES)

    async def authenticate(self, token: str) -> Principal:
        """The principal of a token that counts; raises `AuthenticationError` or `TransientError`."""
        return await self.node.authenticate(token)

    def recheck(self) -> None:
        """Close the socket if its token has been revoked."""
        if self.principal is not None and self.node.revocations.is_revoked(self.principal):
            metrics.authentications.labels("recheck", "revoked").inc()
            self.refused(AuthenticationError("revoked", "the token has been revoked"))
            self.close(CloseCode.UNAUTHENTICATED)

    def close(self, code: int) -> None:
        """Close the socket after what has been written."""
        self.outbox.close(code)

    def send_away(self, retry_after: int) -> None:
        """The process ends: close the socket; the client is to come back in so many seconds."""
        self.restarting(retry_after)
        self.close(CloseCode.RESTARTING)

    # What the hub calls

    def feed_reset(self, feed: str, position: Position) -> bool:
        """What lay between the last frame of a feed and this position is lost; whether it goes on being heard."""
        raise NotImplementedError

    def dropped(self, feed: str, position: Position) -> None:
        """A publication removed this user from a feed."""
        raise NotImplementedError

    def ask_access(self, feed: str) -> None:
        """This user's access to a feed may have changed."""
        raise NotImplementedError

    def left(self) -> None:
        """The connection is gone, the hub has forgotten it."""

    async def _opened(self) -> None:
        self.node.start()
        self.node.connections[self.connection_id] = self
        handshake = self.handshake
        refusal = self.node.admission.enter(handshake.address)
        if self.node.draining:
            self.send_away(1)
            return
        if refusal is not None:
            metrics.refusals.labels(refusal.reason).inc()
            self.not_admitted(refusal)
            self.close(CloseCode.AT_LIMIT)
            return
        self._is_admitted = True
        self.node.audit.opened(self.connection_id, address=handshake.address, user_agent=handshake.user_agent)
        if not handshake.origin_allowed:
            self.origin_refused()
            self.close(CloseCode.FORBIDDEN)
        elif isinstance(handshake.failure, AuthenticationError):
            metrics.authentications.labels(handshake.way, handshake.failure.reason).inc()
            self.refused(handshake.failure)
            self.close(CloseCode.UNAUTHENTICATED)
        elif handshake.failure is not None:
            self.unavailable(handshake.failure)
            self.close(CloseCode.RESTARTING)
        elif handshake.principal is not None:
            try:
                await self.handshake_authenticated(handshake.principal)
                self.recheck()  # nobody told this connection what was revoked before it had its user
            except Exception:
                logger.exception("welcoming connection %s failed", self.connection_id)
                self.failed()
                self.close(CloseCode.INTERNAL_ERROR)
        else:
            self._schedule(self.node.conf.auth_timeout, self._deadline_passed)

    def _ended(self, code: int) -> None:
        self._cancel_timer()
        self.node.serving.discard(self)
        if self._reading_ahead is not None:
            self._reading_ahead.cancel()
        code = self.outbox.closing or code
        self.outbox.discard()
        self.node.hub.leave_all(self)
        if self.node.connections.pop(self.connection_id, None) is None:
            return
        self.node.admission.leave(self.handshake.address)
        metrics.closes.labels(label_of(code)).inc()
        if self.user_id:
            self.node.users[self.user_id] -= 1
            if not self.node.users[self.user_id]:
                del self.node.users[self.user_id]
        if not self.node.connections:
            self.node.empty.set()
        if not self._is_admitted:
            return
        if self.user_id:
            self.node.presence.closed(self.user_id, self.connection_id)
        self.node.audit.closed(
            self.connection_id, code=code, frames_in=self.frames_in, frames_out=self.outbox.frames,
            bytes_in=self.bytes_in, bytes_out=self.outbox.size,
        )  # fmt: skip
        self.left()

    def _deadline_passed(self) -> None:
        metrics.authentications.labels("frame", "timeout").inc()
        self.refused(AuthenticationError("timeout", f"not authenticated within {self.node.conf.auth_timeout:g} s"))
        self.close(CloseCode.UNAUTHENTICATED)

    def _check_expiry(self) -> None:
        left = self.principal.expires_at - time.time() if self.principal else 0
        if left > 0:
            self._schedule(left, self._check_expiry)
            return
        self.token_expired()
        self.close(CloseCode.UNAUTHENTICATED)

    def _schedule(self, seconds: float, then: Any) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(min(max(seconds, 0), 86_400), then)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""The chat's socket: decode, look up the handler, write what it returns.

Every frame that goes out passes here or the hub.
"""

import math
from collections.abc import Sequence

from msgspec import UNSET

from chatws.chat_service.port import RETRY_AFTER_SECONDS, ChatServiceError
from chatws.exceptions import BadFrame, FrameError
from chatws.protocol import codec
from chatws.protocol.frames import (
    Auth,
    AuthFailed,
    ClientFrame,
    Error,
    FeedReset,
    Ping,
    Pong,
    ResumePoint,
    ServerData,
    Shutdown,
)
from chatws.services import Services
from chatws.socket.handlers.table import HANDLERS
from chatws.socket.session import Answer, Session, Tail
from realtime.aio.coalesce import Rerun
from realtime.auth.principal import Principal
from realtime.close_codes import CloseCode
from realtime.connection.consumer import DeliveryConsumer
from realtime.exceptions import AuthenticationError, FeedUnavailable, TransientError
from realtime.feeds.log import Position
from realtime.hub.batch import Batch
from realtime.node.admission import Refusal
from realtime.observability import metrics, tracing

LONGEST_PING = 500


class ChatConsumer(DeliveryConsumer):
    """One chat connection; ``session`` is None until it has authenticated."""

    def __init__(self, services: Services) -> None:
        super().__init__(services.node)
        self.services = services
        self.session: Session | None = None
        self._reconciling = Rerun(self._reconcile, "reconciling a connection with its user's groups")

    def write(self, data: ServerData, message_id: str = "") -> None:
        """Send one frame."""
        self.outbox.write(Batch((_encode(data, message_id),)))

    async def frame_received(self, text: str, size: int) -> None:
        message_id = ""
        kind = "bad"
        try:
            frame = codec.decode(text)
            message_id, kind = frame.message_id, codec.type_of(frame)
            with tracing.current.frame(kind, self.connection_id, self.user_id):
                await self._serve(frame)
        except BadFrame as error:
            kind = "bad"
            self.write(_error(error), message_id or error.message_id)
            self.count_bad_frame()
        except FrameError as error:
            self.write(_error(error), message_id)
        except ChatServiceError as error:
            self.write(Error(error.code, str(error), retry_after=error.retry_after or UNSET), message_id)
        except TransientError as error:
            self.write(_unavailable(error), message_id)
        finally:
            metrics.frames_received.labels(kind).inc()
            metrics.bytes_received.labels(kind).inc(size)

    def needs_no_turn(self, text: str) -> bool:
        if '"ping"' not in text or len(text) > LONGEST_PING:
            return False
        try:
            return isinstance(codec.decode(text), Ping)
        except BadFrame:
            return False

    async def _serve(self, frame: ClientFrame) -> None:
        if self.session is not None:
            self.answer(await HANDLERS[type(frame)](self.session, frame), frame.message_id)
        elif isinstance(frame, Auth):
            await self._authenticate(frame)
        elif isinstance(frame, Ping):
            self.write(Pong(), frame.message_id)
        else:
            raise FrameError(401, "not authenticated: send auth first")

    async def _authenticate(self, frame: Auth) -> None:
        self.stop_deadline()
        try:
            principal = await self.authenticate(frame.data.token)
        except AuthenticationError as error:
            metrics.authentications.labels("frame", error.reason).inc()
            self.write(AuthFailed(str(error), error.reason), frame.message_id)
            self.close(CloseCode.UNAUTHENTICATED)
            return
        except TransientError as error:
            self.write(_unavailable(error), frame.message_id)
            self.close(CloseCode.RESTARTING)
            return
        await self._start(principal, "frame", frame.data.resume, frame.message_id)

    async def handshake_authenticated(self, principal: Principal) -> None:
        await self._start(principal, self.handshake.way, None, "")

    async def _start(
        self, principal: Principal, way: str, resume: dict[str, ResumePoint] | None, message_id: str
    ) -> None:
        self.identify(principal, way)
        membership = self.services.memberships.enter(self.user_id, self)
        self.session = Session(self, principal, membership, self.services)
        try:
            self.answer(await self.session.start(resume), message_id)
        except FeedUnavailable as error:
            self.outbox.drop_held()
            self.answer([_unavailable(error)], message_id)
            self.close(CloseCode.RESTARTING)
        except Exception:
            self.outbox.drop_held()
            self.close(CloseCode.INTERNAL_ERROR)  # half a session serves nobody; the dispatch tells the cause
            raise

    def answer(self, answers: Sequence[Answer], message_id: str = "") -> None:
        """Send frames; with a `Tail` among them that too, and what the outbox held back for it."""
        frames = [_encode(answer, message_id) for answer in answers if not isinstance(answer, Tail)]
        tails = [answer for answer in answers if isinstance(answer, Tail)]
        if tails:
            replayed = [frame for tail in tails for frame in tail.frames]
            for frame in replayed:
                metrics.sent(metrics.type_of(frame), 1, len(frame))
            self.outbox.release(Batch(frames), replayed)
        elif frames:
            self.outbox.write(Batch(frames))

    def membership_changed(self) -> None:
        """The user's groups changed: hear what is new, leave what is gone."""
        if self.session is not None and not self.session.starting:
            self._reconciling.ask()

    async def _reconcile(self) -> None:
        if self.session is None:
            return
        try:
            await self.session.reconcile()
        except FeedUnavailable:
            self.session.follow()
        finally:
            if self.connection_id not in self.node.connections:  # gone meanwhile
                self.node.hub.leave_all(self)

    def feed_reset(self, feed: str, position: Position) -> bool:
        self.write(FeedReset(feed, position.epoch, position.offset))
        return self.session is not None and self.session.feed_reset(feed, position)

    def dropped(self, feed: str, position: Position) -> None:
        if self.session is not None:
            self.session.dropped(feed, position)

    def ask_access(self, feed: str) -> None:
        if self.session is not None:
            self.session.follow()

    def left(self) -> None:
        self._reconciling.cancel()
        if self.session is not None:
            self.session.end()
        if self.user_id:
            self.services.memberships.leave(self.user_id, self)

    def binary_received(self) -> None:
        self.write(Error(400, "a frame has to be text"))
        self.count_bad_frame()

    def too_fast(self, text: str, wait: float) -> None:
        seconds = math.ceil(wait)
        problem = Error(429, f"too fast: not served, again in {seconds} s", retry_after=seconds)
        self.write(problem, codec.message_id_of(text))

    def not_admitted(self, refusal: Refusal) -> None:
        self.write(Error(503, refusal.message, reason=refusal.reason, retry_after=refusal.retry_after))

    def unavailable(self, error: TransientError) -> None:
        self.write(_unavailable(error))

    def restarting(self, retry_after: int) -> None:
        self.write(Shutdown(retry_after))

    def failed(self) -> None:
        self.write(Error(500, "an error of ours"))

    def refused(self, error: AuthenticationError) -> None:
        self.write(AuthFailed(str(error), error.reason))

    def origin_refused(self) -> None:
        self.write(Error(403, "this origin may not open a socket here", reason="origin"))

    def token_expired(self) -> None:
        self.write(Error(401, "the token has expired", reason="token_expired"))


def _error(error: FrameError) -> Error:
    return Error(error.code, error.message, reason=error.reason or UNSET, retry_after=error.retry_after or UNSET)


def _unavailable(error: TransientError) -> Error:
    return Error(503, str(error), retry_after=RETRY_AFTER_SECONDS)


def _encode(data: ServerData, message_id: str) -> bytes:
    frame = codec.encode(data, message_id)
    metrics.sent(data.TYPE, 1, len(frame))
    return frame

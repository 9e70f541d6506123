"""Serve one chat connection: decode a frame, call its handler, write what the handler returns."""

from collections.abc import Mapping

from msgspec import UNSET

from chatws.chat_service.port import ChatServiceError
from chatws.exceptions import BadFrame, FrameError
from chatws.protocol import codec
from chatws.protocol.frames import Auth, AuthFailed, ClientFrame, Error, Ping, Pong, ResumePoint, ServerData
from chatws.services import Services
from chatws.socket import replies
from chatws.socket.handlers.table import HANDLERS
from chatws.socket.session import Session
from realtime.auth.principal import Principal
from realtime.close_codes import CloseCode
from realtime.connection.consumer import Connection
from realtime.connection.handler import FrameFailed, Notice, TooFast
from realtime.connection.outbox import Outbox
from realtime.exceptions import AuthenticationError, FeedUnavailable, TransientError
from realtime.observability import metrics, tracing

LONGEST_PING = 500
"""Characters. A longer frame is not looked into before its turn."""


class ChatConnection:
    """One chat connection. ``session`` is None until the user has authenticated."""

    __slots__ = ("_connection", "_services", "session")

    def __init__(self, services: Services, connection: Connection) -> None:
        self._services = services
        self._connection = connection
        self.session: Session | None = None

    # What the session uses

    @property
    def outbox(self) -> Outbox:
        return self._connection.outbox

    @property
    def connection_id(self) -> str:
        return self._connection.connection_id

    @property
    def principal(self) -> Principal | None:
        return self._connection.principal

    async def authenticate(self, token: str) -> Principal:
        return await self._connection.authenticate(token)

    def renew(self, principal: Principal) -> None:
        self._connection.renew(principal)

    def write(self, data: ServerData, message_id: str = "") -> None:
        self.outbox.write(replies.encode([data], message_id))

    # What the connection calls

    async def authenticated(self, principal: Principal) -> None:
        await self._start(principal, self._connection.handshake.auth_method, {}, "")

    async def frame_received(self, text: str, size: int) -> None:
        message_id = ""
        kind = "bad"
        try:
            frame = codec.decode(text)
            message_id, kind = frame.message_id, codec.type_of(frame)
            with tracing.current.frame(kind, self.connection_id, self._connection.user_id):
                await self._serve(frame)
        except BadFrame as error:
            kind = "bad"
            self.write(replies.error(error), message_id or error.message_id)
            self._connection.count_bad_frame()
        except FrameError as error:
            self.write(replies.error(error), message_id)
        except ChatServiceError as error:
            self.write(Error(error.code, str(error), retry_after=error.retry_after or UNSET), message_id)
        except TransientError as error:
            self.write(replies.unavailable(error), message_id)
        finally:
            metrics.frames_received.labels(kind).inc()
            metrics.bytes_received.labels(kind).inc(size)

    def can_overtake(self, text: str) -> bool:
        if '"ping"' not in text or len(text) > LONGEST_PING:
            return False
        try:
            return isinstance(codec.decode(text), Ping)
        except BadFrame:
            return False

    def notify(self, notice: Notice) -> None:
        message_id = codec.message_id_of(notice.text) if isinstance(notice, TooFast | FrameFailed) else ""
        self.write(replies.of_notice(notice), message_id)

    def closed(self) -> None:
        if self.session is not None:
            self.session.end()

    async def _serve(self, frame: ClientFrame) -> None:
        if self.session is not None:
            if frames := await HANDLERS[type(frame)](self.session, frame):
                self.outbox.write(replies.encode(frames, frame.message_id))
        elif isinstance(frame, Auth):
            await self._authenticate(frame)
        elif isinstance(frame, Ping):
            self.write(Pong(), frame.message_id)
        else:
            raise FrameError(401, "not authenticated: send auth first")

    async def _authenticate(self, frame: Auth) -> None:
        self._connection.stop_deadline()
        try:
            principal = await self.authenticate(frame.data.token)
        except AuthenticationError as error:
            metrics.authentications.labels("frame", error.reason).inc()
            self.write(AuthFailed(str(error), error.reason), frame.message_id)
            self._connection.close(CloseCode.UNAUTHENTICATED)
        except TransientError as error:
            self.write(replies.unavailable(error), frame.message_id)
            self._connection.close(CloseCode.RESTARTING)
        except Exception:  # a boundary: the deadline no longer ends this connection; the caller logs the cause
            self._fail(frame.message_id)
            raise
        else:
            await self._start(principal, "frame", frame.data.resume or {}, frame.message_id)

    async def _start(
        self, principal: Principal, auth_method: str, points: Mapping[str, ResumePoint], message_id: str
    ) -> None:
        self._connection.identify(principal, auth_method)
        try:
            session = self.session = Session(self, principal, self._services)
            with self.outbox.holding(drop_on_error=True) as reply:
                await session.start(points, reply, message_id)
        except FeedUnavailable as error:
            self.write(replies.unavailable(error), message_id)
            self._connection.close(CloseCode.RESTARTING)
        except Exception:  # a boundary: without a session the connection is of no use; the caller logs the cause
            self._fail(message_id)
            raise

    def _fail(self, message_id: str) -> None:
        self.write(replies.of_notice(FrameFailed()), message_id)
        self._connection.close(CloseCode.INTERNAL_ERROR)

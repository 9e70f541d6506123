"""Make the frames that are built in more than one place, and encode frames for the outbox."""

import math
from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from chatws.chat_service.port import RETRY_AFTER_SECONDS
from chatws.exceptions import FrameError
from chatws.membership.membership import group_of
from chatws.protocol import codec
from chatws.protocol.frames import AuthFailed, Error, FeedPosition, GroupJoined, ServerData, Shutdown
from realtime.connection.handler import (
    BinaryFrame,
    FrameFailed,
    Notice,
    OriginRefused,
    Restarting,
    TokenExpired,
    TooFast,
)
from realtime.exceptions import AuthenticationError, TransientError
from realtime.hub.batch import Batch
from realtime.hub.resume import Subscribed
from realtime.node.admission import Refusal
from realtime.observability import metrics


def encode(frames: Sequence[ServerData], message_id: str = "") -> Batch:
    """Encode frames that go to one client, and count them. ``message_id`` is that of the frame they answer."""
    encoded = []
    for data in frames:
        frame = codec.encode(data, message_id)
        metrics.sent(data.TYPE, 1, len(frame))
        encoded.append(frame)
    return Batch(encoded)


def tail_of(subscribed: Sequence[Subscribed]) -> list[bytes]:
    """Return the frames that a connection missed, and count them."""
    frames = [frame for one in subscribed for frame in one.tail or ()]
    for frame in frames:
        metrics.sent(metrics.type_of(frame), 1, len(frame))
    return frames


def feed_position(subscribed: Subscribed) -> FeedPosition:
    """Return a feed's entry in `auth_success`."""
    position = subscribed.position
    return FeedPosition(subscribed.feed, position.epoch, position.offset, _recovered(subscribed))


def group_joined(subscribed: Subscribed) -> GroupJoined:
    """Return the frame that tells a client that it receives a chat group."""
    feed, position = subscribed.feed, subscribed.position
    return GroupJoined(group_of(feed), feed, position.epoch, position.offset, _recovered(subscribed))


def error(problem: FrameError) -> Error:
    """Return the frame for a frame that was not served."""
    reason, retry_after = problem.reason or UNSET, problem.retry_after or UNSET
    return Error(problem.code, problem.message, reason=reason, retry_after=retry_after)


def unavailable(problem: TransientError) -> Error:
    """Return the frame for something that is unavailable now."""
    return Error(503, str(problem), retry_after=RETRY_AFTER_SECONDS)


def of_notice(notice: Notice) -> ServerData:
    """Return the frame for what a connection decided by itself."""
    match notice:
        case TooFast(wait=wait):
            seconds = math.ceil(wait)
            return Error(429, f"too fast: not served, again in {seconds} s", retry_after=seconds)
        case BinaryFrame():
            return Error(400, "a frame has to be text")
        case FrameFailed():
            return Error(500, "an error of ours")
        case OriginRefused():
            return Error(403, "this origin may not open a socket here", reason="origin")
        case TokenExpired():
            return Error(401, "the token has expired", reason="token_expired")
        case Restarting(retry_after=retry_after):
            return Shutdown(retry_after)
        case Refusal(message, reason, retry_after):
            return Error(503, message, reason=reason, retry_after=retry_after)
        case AuthenticationError():
            return AuthFailed(str(notice), notice.reason)
        case TransientError():
            return unavailable(notice)


def _recovered(subscribed: Subscribed) -> bool | UnsetType:
    return subscribed.tail is not None if subscribed.resumed else UNSET

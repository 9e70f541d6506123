"""Read the tail of a feed for a connection that resumes: all publications that it missed, or none.

The hub calls this while it subscribes the connection, and delivers live from where the tail ends.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from realtime.feeds.log import FeedLog, Position
from realtime.feeds.publication import decode_publication
from realtime.hub.subscription import LocalFeed, Subscriber

MAX_PUBLICATIONS, MAX_BYTES = 256, 256 * 1024
"""Of one feed (docs/protocol.md, "Feeds, offsets, recovery")."""
MAX_FEEDS, MAX_BYTES_IN_ALL = 400, 4 * 1024 * 1024


@dataclass(slots=True)
class Resume:
    """The positions from which a connection resumes, and how many feeds and bytes may still be replayed to it."""

    points: dict[str, Position] = field(default_factory=dict)
    feeds: int = MAX_FEEDS
    bytes: int = MAX_BYTES_IN_ALL

    def remember_position(self, feed: str, position: Position) -> None:
        """Note where the hub unsubscribed the connection, in case it subscribes again."""
        self.points[feed] = position
        self.feeds += 1
        self.bytes = min(self.bytes + MAX_BYTES, MAX_BYTES_IN_ALL)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A feed that a connection receives live from ``position`` on.

    ``resumed``: whether the client said from where. ``tail``: the frames from there up to ``position``, None if the log
    no longer has them all.
    """

    feed: str
    position: Position
    resumed: bool = False
    tail: Sequence[bytes] | None = None


async def missed(
    log: FeedLog,
    feed: LocalFeed,
    resume: Resume,
    subscriber: Subscriber,
    catch_up: Callable[[LocalFeed], Awaitable[None]],
) -> Sequence[bytes] | None:
    """Return the frames after the point that ``resume`` has for the feed; None if the log doesn't have them all.

    Returns in the same turn of the loop in which the frames reach the feed's own position, or when the subscriber is no
    longer to be subscribed. ``catch_up`` waits until the feed has read its log.

    Raises:
        RedisUnavailable: the log can't be read now.
    """
    if resume.feeds <= 0:
        return None
    resume.feeds -= 1
    try:
        return await _tail(log, feed, resume, subscriber, catch_up)
    except BaseException:  # also a cancellation; it is raised again
        resume.feeds += 1  # a try that failed, as Redis was away, is made again
        raise


async def _tail(
    log: FeedLog,
    feed: LocalFeed,
    resume: Resume,
    subscriber: Subscriber,
    catch_up: Callable[[LocalFeed], Awaitable[None]],
) -> Sequence[bytes] | None:
    point = resume.points[feed.name]
    max_bytes = min(MAX_BYTES, resume.bytes)
    frames: list[bytes] = []
    offset, size, is_current = point.offset, 0, False
    while feed.subscribing.get(subscriber):
        if feed.epoch != point.epoch:
            return None
        if offset == feed.offset:
            resume.bytes -= size
            return frames
        room = MAX_PUBLICATIONS - len(frames), max_bytes - size
        entries = await log.tail(feed.name, Position(point.epoch, offset), feed.offset, *room)
        if entries is None:
            if is_current:
                return None
            is_current = True  # a lost log has a new epoch: its position counts, or the loss would be reported twice
            await catch_up(feed)
            continue
        if not entries and offset > feed.offset:  # the log is ahead of this process
            await catch_up(feed)
            await asyncio.sleep(0)
        for entry in entries:
            offset += 1
            size += len(entry)
            frames.append(feed.stamp(decode_publication(entry).payload, offset))
    return None

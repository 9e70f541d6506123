"""The tail of a feed for a connection that comes back: what it missed, all of it or nothing.

Called by the hub while the connection joins; what the log says is brought level with what the hub has handed out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from realtime.feeds.log import FeedLog, Position
from realtime.feeds.publication import decode_publication
from realtime.hub.subscription import LocalFeed, Subscriber

MOST_PUBLICATIONS, MOST_BYTES = 256, 256 * 1024
"""Of one feed (docs/protocol.md, "Feeds, offsets, recovery")."""
MOST_FEEDS, MOST_BYTES_IN_ALL = 400, 4 * 1024 * 1024


@dataclass(slots=True)
class Resume:
    """Where a connection that comes back left off, feed by feed, and how much may still be replayed to it."""

    points: dict[str, Position] = field(default_factory=dict)
    feeds: int = MOST_FEEDS
    bytes: int = MOST_BYTES_IN_ALL

    def remember_position(self, feed: str, position: Position) -> None:
        """The hub let the connection go at this position: from there it goes on if it joins again."""
        self.points[feed] = position
        self.feeds += 1
        self.bytes = min(self.bytes + MOST_BYTES, MOST_BYTES_IN_ALL)


@dataclass(frozen=True, slots=True)
class Joined:
    """A feed that a connection hears now, live from ``position``. ``tail``: the frames between where it left off and
    there; None if they can't be had. ``resumed``: whether the connection said where it left off."""

    feed: str
    position: Position
    resumed: bool = False
    tail: Sequence[bytes] | None = None


async def missed(
    log: FeedLog, feed: LocalFeed, resume: Resume, member: Subscriber, catch_up: Callable[[LocalFeed], Awaitable[None]]
) -> Sequence[bytes] | None:
    """The frames after the point that ``resume`` has for the feed, or None if they can't be had.

    Returns in the turn of the loop in which they reach up to the feed's own position, or when the member, which is
    joining, is no longer wanted. ``catch_up`` lets the feed read its log. Raises what Redis raises.
    """
    point = resume.points[feed.name]
    if resume.feeds <= 0:
        return None
    resume.feeds -= 1
    most_bytes = min(MOST_BYTES, resume.bytes)
    frames: list[bytes] = []
    offset, size = point.offset, 0
    while feed.joining.get(member):
        if feed.epoch != point.epoch:
            return None
        if offset == feed.offset:
            resume.bytes -= size
            return frames
        room = MOST_PUBLICATIONS - len(frames), most_bytes - size
        entries = await log.tail(feed.name, Position(point.epoch, offset), feed.offset, *room)
        if entries is None:
            return None
        if not entries and offset > feed.offset:  # the log has it, this process not yet
            await catch_up(feed)
            await asyncio.sleep(0)
        for entry in entries:
            offset += 1
            size += len(entry)
            frames.append(feed.stamp(decode_publication(entry).payload, offset))
    return None

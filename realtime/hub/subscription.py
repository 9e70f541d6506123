"""What the hub knows of one feed, and what it calls on subscribers and listeners."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from realtime.feeds.log import Position
from realtime.hub.batch import Batch

PAST_EPOCHS = 10
"""How many epochs of a feed are remembered that have ended."""


class Subscriber(Protocol):
    """A connection that receives feeds. The hub calls its methods in the loop; they must not block."""

    user_id: int

    def deliver(self, batch: Batch) -> None:
        """Send frames of one feed, in order."""

    def feed_reset(self, feed: str, position: Position) -> bool:
        """Report that publications before this position are lost; return whether to stay subscribed.

        A subscriber that returns False may subscribe again from this position, once it knows that its user still may.
        """

    def removed_from_feed(self, feed: str, position: Position) -> None:
        """Report that the publication at this position removed the user; the connection is unsubscribed."""

    def access_changed(self, feed: str) -> None:
        """Report that the user's access to this feed may have changed."""


class HubListener(Protocol):
    """A part of this process that follows the whole hub. Its methods are called in the loop; they must not block."""

    def user_removed(self, user_id: int, feed: str) -> None:
        """Report a removal that a publication of this feed carried."""

    def reconnected(self) -> None:
        """Report that the channel layer receives again after it lost its connection: removals may have been missed."""


class LocalFeed:
    """A feed as this process receives it. Only the hub changes it. ``epoch`` is empty until the position is known."""

    __slots__ = (
        "closing", "dirty", "epoch", "failure", "fill", "last_id", "linger",
        "name", "offset", "opened", "opening", "past_epochs", "pending", "subscribers", "subscribing",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = ""
        self.offset = 0
        self.last_id = ""
        self.past_epochs: tuple[str, ...] = ()
        """The last epochs that ended while this process received the feed."""
        self.subscribers: dict[Subscriber, Callable[[Batch], None]] = {}
        """Each with its `deliver`: a delivery should touch as few objects as possible."""
        self.subscribing: dict[Subscriber, bool] = {}
        """Those that wait for the feed to open, and whether they are still to be subscribed then."""
        self.pending: list[bytes] = []
        """Frames that go out at the end of this turn of the loop."""
        self.opened = 0
        """The hub's ``openings`` when the position became known; 0 until then."""
        self.opening: asyncio.Task[None] | None = None
        self.failure = ""
        """Why it could not be opened when that was last tried."""
        self.fill: asyncio.Task[None] | None = None
        """The task that reads the log, while it runs."""
        self.dirty = False
        """Whether the log is to be read: a publication came that doesn't follow on, or the last read failed."""
        self.linger: asyncio.TimerHandle | None = None
        self.closing: asyncio.Task[None] | None = None

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset, self.last_id)

    def move_to(self, position: Position) -> None:
        if self.epoch and position.epoch != self.epoch:
            self.past_epochs = (*self.past_epochs[1 - PAST_EPOCHS :], self.epoch)
        self.epoch, self.offset, self.last_id = position.epoch, position.offset, position.last_id

    def stamp(self, payload: bytes, offset: int) -> bytes:
        """Return a publication's frame: its position is written before the payload's last brace, once for all."""
        return b'%b,"feed":"%b","epoch":"%b","offset":%d}' % (
            payload[:-1], self.name.encode(), self.epoch.encode(), offset,
        )  # fmt: skip

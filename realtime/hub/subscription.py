"""A feed as one process hears it: its place, who hears it, what is under way. Changed by the hub alone."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from realtime.feeds.log import Position
from realtime.hub.batch import Batch


class Subscriber(Protocol):
    """A connection, as the hub sees it. Its methods are called in the loop and must not block."""

    user_id: int

    def deliver(self, batch: Batch) -> None:
        """Frames of one feed, in order."""

    def feed_reset(self, feed: str, position: Position) -> bool:
        """What lay between the last frame and this position is lost; whether the connection goes on hearing the feed.

        One that doesn't may join again from this position, once it knows that it still may.
        """

    def dropped(self, feed: str, position: Position) -> None:
        """The connection no longer hears the feed: the publication at this position removed its user."""

    def ask_access(self, feed: str) -> None:
        """The user's access to this feed may have changed: ask."""


class LocalFeed:
    """A feed as this process hears it. ``epoch`` is empty until its position is known."""

    __slots__ = (
        "closing", "dirty", "epoch", "fill", "joining", "last_id",
        "linger", "members", "name", "offset", "opening", "pending",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = ""
        self.offset = 0
        self.last_id = ""
        self.members: dict[Subscriber, Callable[[Batch], None]] = {}
        """Who hears the feed, each with its `deliver`: with many connections each object that is touched costs."""
        self.joining: dict[Subscriber, bool] = {}
        """Those who wait for the feed to open, and whether they are still wanted in it."""
        self.pending: list[bytes] = []
        self.opening: asyncio.Task[None] | None = None
        self.fill: asyncio.Task[None] | None = None
        self.dirty = False
        self.linger: asyncio.TimerHandle | None = None
        self.closing: asyncio.Task[None] | None = None

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset, self.last_id)

    def move_to(self, position: Position) -> None:
        self.epoch, self.offset, self.last_id = position.epoch, position.offset, position.last_id

    def stamp(self, payload: bytes, offset: int) -> bytes:
        """The frame of a publication: its place is written before the object's last brace, once for all members."""
        return b'%b,"feed":"%b","epoch":"%b","offset":%d}' % (
            payload[:-1], self.name.encode(), self.epoch.encode(), offset,
        )  # fmt: skip

"""Send frames past the log, over the channel layer alone: at most once, to the present subscribers of a feed.

`Ephemeral.send` never waits. Frames above a limit are dropped and counted.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from realtime.aio import tasks
from realtime.feeds.names import channels_group
from realtime.hub.batch import Batch
from realtime.hub.subscription import LocalFeed
from realtime.layers.protocol import Layer, send_all
from realtime.observability import metrics

logger = logging.getLogger(__name__)

MAX_WAITING = 1_000
"""Frames that wait for a slow layer. More are dropped."""


class Ephemeral:
    """Sends and delivers one process's ephemeral frames: at most ``per_second`` of one feed (0: no limit)."""

    def __init__(self, layer: Layer, feeds: Mapping[str, LocalFeed], background: tasks.Group, per_second: int) -> None:
        self._layer = layer
        self._feeds = feeds
        self._background = background
        self._per_second = per_second
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._is_sending = False
        self._second = 0
        self._delivered: Counter[str] = Counter()

    def send(self, feed: str, frame: bytes, exclude_user: int = 0) -> None:
        """Send a frame to all subscribers of a feed, on every gateway, except those of one user."""
        if len(self._waiting) >= MAX_WAITING:
            metrics.outbox_dropped.labels("ephemeral").inc()
            return
        message = {"type": "ephemeral", "feed": feed, "frame": frame, "besides": exclude_user}
        self._waiting.append((channels_group(feed), message))
        if not self._is_sending:
            self._is_sending = True
            self._background.spawn(self._flush(), "sending ephemeral frames")

    def receive(self, message: Mapping[str, Any]) -> None:
        """Deliver what a gateway sent."""
        feed = self._feeds.get(message["feed"])
        if feed is None or not feed.subscribers:
            return
        if not self._has_room(feed.name):
            metrics.outbox_dropped.labels("ephemeral").inc()
            return
        frame, exclude_user = message["frame"], message["besides"]
        batch = Batch((frame,), ephemeral=True)
        deliveries = [deliver for subscriber, deliver in feed.subscribers.items() if subscriber.user_id != exclude_user]
        for deliver in deliveries:
            try:
                deliver(batch)
            except Exception:  # a boundary: an error with one subscriber must not cost the others
                logger.exception("an ephemeral frame of feed %s was not delivered to a connection", feed.name)
        metrics.sent(metrics.type_of(frame), len(deliveries), len(frame) * len(deliveries))

    async def _flush(self) -> None:
        try:
            while self._waiting:
                messages, self._waiting = self._waiting, []
                await send_all(self._layer, messages)
        except Exception as error:  # a foreign layer raises errors of its own
            logger.warning("%d ephemeral frames are lost: %s", len(messages) + len(self._waiting), error)
            self._waiting.clear()
        finally:
            self._is_sending = False

    def _has_room(self, feed: str) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._delivered.clear()
        self._delivered[feed] += 1
        return not 0 < self._per_second < self._delivered[feed]

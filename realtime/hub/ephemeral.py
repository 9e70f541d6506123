"""Frames past the log: over the channel layer alone, told once or not at all to whoever hears their feed now.

Sent by whoever knows what they mean, handed out by the hub. Telling never waits; what is too much is left out, counted.
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

MOST_WAITING = 1_000
"""More than that are not kept for a layer that is slow."""


class Ephemeral:
    """The way out and in of one process's ephemeral frames. ``most``: how many a second of one feed it hands out."""

    def __init__(self, layer: Layer, feeds: Mapping[str, LocalFeed], background: tasks.Group, most: int) -> None:
        self._layer = layer
        self._feeds = feeds
        self._background = background
        self._most = most
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._is_sending = False
        self._second = 0
        self._handed_out: Counter[str] = Counter()

    def tell(self, feed: str, frame: bytes, besides: int = 0) -> None:
        """Tell everybody who hears a feed, on every gateway, but the user ``besides``."""
        if len(self._waiting) >= MOST_WAITING:
            metrics.outbox_dropped.labels("ephemeral").inc()
            return
        message = {"type": "ephemeral", "feed": feed, "frame": frame, "besides": besides}
        self._waiting.append((channels_group(feed), message))
        if not self._is_sending:
            self._is_sending = True
            self._background.spawn(self._send(), "telling ephemeral frames")

    def receive(self, message: Mapping[str, Any]) -> None:
        """Hand out what some gateway told."""
        feed = self._feeds.get(message["feed"])
        if feed is None or not feed.members:
            return
        if not self._has_room(feed.name):
            metrics.outbox_dropped.labels("ephemeral").inc()
            return
        frame, besides = message["frame"], message["besides"]
        batch = Batch((frame,), ephemeral=True)
        deliveries = [deliver for member, deliver in feed.members.items() if member.user_id != besides]
        for deliver in deliveries:
            deliver(batch)
        metrics.sent(metrics.type_of(frame), len(deliveries), len(frame) * len(deliveries))

    async def _send(self) -> None:
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
            self._handed_out.clear()
        self._handed_out[feed] += 1
        return not 0 < self._most < self._handed_out[feed]

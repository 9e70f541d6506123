"""Open and close the feeds that this process receives.

Each feed is subscribed to once on the channel layer, for all connections of the process. It stays open for a while
after its last subscriber, because clients that reconnect come back within seconds.
"""

import asyncio
import logging
from collections.abc import Callable

from realtime.aio import tasks
from realtime.exceptions import FeedUnavailable
from realtime.feeds.log import FeedLog
from realtime.feeds.names import channels_group
from realtime.hub.receiver import Receiver
from realtime.hub.recovery import RETRY_SECONDS
from realtime.hub.subscription import LocalFeed, Subscriber
from realtime.layers.protocol import Layer
from realtime.observability import metrics

logger = logging.getLogger(__name__)

OPEN_SECONDS = 5.0


class LocalFeeds:
    """The feeds of one process, by name. ``on_open`` is called with each feed whose position has become known."""

    def __init__(
        self, layer: Layer, log: FeedLog, receiver: Receiver, group: tasks.Group, *,
        linger_seconds: float, on_open: Callable[[LocalFeed], None],
    ) -> None:  # fmt: skip
        self._layer = layer
        self._log = log
        self._receiver = receiver
        self._tasks = group
        self._linger_seconds = linger_seconds
        self._on_open = on_open
        self.by_name: dict[str, LocalFeed] = {}

    def get(self, name: str) -> LocalFeed:
        """Return the feed; begin to open it if this process doesn't receive it yet."""
        feed = self.by_name.get(name)
        if feed is None:
            feed = self.by_name[name] = LocalFeed(name)
            feed.opening = self._tasks.spawn(self._open(feed), f"opening feed {name}")
            metrics.feeds.set(len(self.by_name))
        return feed

    async def wait_open(self, feeds: list[LocalFeed], subscriber: Subscriber | None = None) -> None:
        """Return once all these feeds are open. The caller may act on them until it awaits something.

        A feed that closes meanwhile is replaced in the list by its successor, which takes over what the feed noted of
        ``subscriber``.

        Raises:
            FeedUnavailable: Redis did not answer in time, or refuses; the text says which.
        """
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                while any(feed.closing is not None or feed.opening is not None for feed in feeds):
                    for index, feed in enumerate(feeds):
                        if feed.closing is not None:
                            await asyncio.wait([feed.closing])
                            feeds[index] = self._successor(feed, subscriber)
                        elif feed.opening is not None:
                            await self._opened(feed.opening)
        except TimeoutError:
            why = self._receiver.failure or next((feed.failure for feed in feeds if feed.failure), "no answer in time")
            raise FeedUnavailable(f"Redis is unavailable: {why}") from None

    def close_later_if_empty(self, feed: LocalFeed) -> None:
        """Close the feed after the time it lingers, unless somebody subscribes until then."""
        if not feed.subscribers and not feed.subscribing and feed.linger is None and feed.closing is None:
            feed.linger = asyncio.get_running_loop().call_later(self._linger_seconds, self._close, feed)

    async def _opened(self, opening: asyncio.Task[None]) -> None:
        """Wait until a feed is open, or until it closes, which cancels its opening; the feed's state tells which."""
        if opening.done():
            raise FeedUnavailable("the gateway is stopping")  # only the hub's end leaves a feed so
        await asyncio.wait([opening])

    def _successor(self, feed: LocalFeed, subscriber: Subscriber | None) -> LocalFeed:
        successor = self.get(feed.name)
        if successor is feed:
            raise FeedUnavailable("the gateway is stopping")  # its closing was cancelled
        if subscriber is not None:
            successor.subscribing[subscriber] = feed.subscribing.pop(subscriber, True)
        return successor

    async def _open(self, feed: LocalFeed) -> None:
        await self._receiver.ready.wait()
        warned = False
        while True:
            try:
                await self._layer.group_add(channels_group(feed.name), self._receiver.channel)
                feed.move_to(await self._log.ensure(feed.name))
                feed.failure = ""
                break
            except Exception as error:  # a foreign layer raises errors of its own
                feed.failure = str(error)
                if not warned:
                    logger.warning("feed %s can't be opened, retrying: %s", feed.name, error)
                    warned = True
                await asyncio.sleep(RETRY_SECONDS)
        feed.opening = None
        self._on_open(feed)
        self.close_later_if_empty(feed)

    def _close(self, feed: LocalFeed) -> None:
        feed.linger = None
        if feed.subscribers or feed.subscribing or self.by_name.get(feed.name) is not feed:
            return
        feed.closing = self._tasks.spawn(self._discard(feed), f"closing feed {feed.name}")

    async def _discard(self, feed: LocalFeed) -> None:
        await tasks.end(task for task in (feed.opening, feed.fill) if task is not None)
        try:
            await self._layer.group_discard(channels_group(feed.name), self._receiver.channel)
        except Exception as error:  # a foreign layer raises errors of its own
            logger.warning("leaving the channel layer's group of feed %s failed: %s", feed.name, error)
        finally:
            del self.by_name[feed.name]
            metrics.feeds.set(len(self.by_name))

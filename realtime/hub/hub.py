"""Fan out: receive each feed once for all connections of this process, and deliver its publications in order.

What the channel layer brings is a hint; the log is the truth. A gap is filled from the log. If the log can't fill it,
the subscribers get a reset.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from realtime.aio import tasks
from realtime.conf import RealtimeConf
from realtime.exceptions import TransientError
from realtime.feeds.log import Appended, FeedLog, Position
from realtime.feeds.publication import DropUser, Publication, decode_publication
from realtime.hub.batch import Batch
from realtime.hub.ephemeral import Ephemeral
from realtime.hub.local_feeds import OPEN_SECONDS, LocalFeeds
from realtime.hub.receiver import Receiver
from realtime.hub.recovery import Recovery
from realtime.hub.resume import Resume, Subscribed, missed
from realtime.hub.subscription import HubListener, LocalFeed, Subscriber
from realtime.layers.protocol import Layer
from realtime.observability import metrics, tracing

logger = logging.getLogger(__name__)

CHECK_SECONDS, CHECK_SECONDS_FOREIGN = 10.0, 2.0
"""How often positions are checked: with a layer that reports a lost connection, and with one that doesn't."""
SUBSCRIBED_SECONDS = 0.3
"""A foreign layer's `group_add` returns before Redis has subscribed; after this time Redis has."""


def _ignore(message: Mapping[str, Any]) -> None:
    return


class Hub:
    """All feeds that this process receives, and their subscribers.

    ``on_control`` is called with messages to all gateways. It is called in the loop and must not block.
    """

    def __init__(
        self, layer: Layer, log: FeedLog, conf: RealtimeConf, on_control: Callable[[Mapping[str, Any]], None] = _ignore
    ) -> None:
        self._layer: Any = layer
        self._confirms = hasattr(layer, "on_resubscribed")
        self._log = log
        self._conf = conf
        self._on_control = on_control
        self._listeners: list[HubListener] = []
        self.openings = 0
        """A logical clock: how many feeds were opened so far. Note it before a question; see `was_subscribed`."""
        self._tasks = tasks.Group()
        self._receiver = Receiver(layer, self._receive)
        self._local = LocalFeeds(
            layer, log, self._receiver, self._tasks, linger_seconds=conf.linger_seconds, on_open=self._opened
        )
        self._feeds = self._local.by_name
        self._feeds_by_subscriber: dict[Subscriber, set[str]] = {}
        self._subscribers_of_user: dict[int, dict[Subscriber, None]] = {}
        """Those that receive a feed or are about to: a removal must not look through all of a feed's subscribers."""
        self._unflushed: list[LocalFeed] = []
        self._handed_out: list[tuple[Sequence[bytes], int]] = []
        """What was delivered since the counters were updated: frames, and to how many connections."""
        self._entered: list[int] = []
        """When what is delivered next entered its stream, in Unix milliseconds."""
        self.ephemeral = Ephemeral(layer, self._feeds, self._tasks, conf.ephemeral_per_second)
        self._recovery = Recovery(log, self._feeds, self._tasks, apply=self._apply, reset=self._reset)

    def start(self) -> None:
        """Begin to receive, as soon as Redis is available."""
        if self._confirms:
            self._layer.on_resubscribed(self._resubscribed)
        every = self._conf.check_seconds or (CHECK_SECONDS if self._confirms else CHECK_SECONDS_FOREIGN)
        self._tasks.supervise(self._receiver.run, "hub receiver")
        self._tasks.supervise(lambda: self._recovery.run(every), "hub position check")

    async def stop(self) -> None:
        """End every task of the hub."""
        await self._tasks.end()

    def listen(self, listener: HubListener) -> None:
        """Notify a listener of removals and of reconnects from now on."""
        self._listeners.append(listener)

    async def check_all(self) -> None:
        """Compare the position of every feed with its log now; raises `RedisUnavailable`."""
        await self._recovery.check_all()

    # Subscribing

    def was_subscribed(self, feed: str, openings: int) -> bool:
        """Return whether this process received the feed when `openings` had this value, and still does."""
        known = self._feeds.get(feed)
        return known is not None and 0 < known.opened <= openings and known.closing is None

    def feeds_of(self, subscriber: Subscriber) -> set[str]:
        """Return the feeds that a subscriber receives. The set is the hub's own: don't change it."""
        return self._feeds_by_subscriber.get(subscriber, set())

    def position_of(self, subscriber: Subscriber, name: str) -> Position | None:
        """Return the position up to which a subscriber has received a feed; None if it does not receive it."""
        feed = self._feeds.get(name)
        if feed is None or subscriber not in feed.subscribers:
            return None
        self._flush(feed)
        return feed.position

    async def ensure_subscribed(self, names: Iterable[str]) -> None:
        """Receive these feeds in this process, so that no publication after the caller's next question is missed.

        Raises:
            FeedUnavailable: Redis did not answer in time.
        """
        await self._local.wait_open([self._local.get(name) for name in names])

    async def subscribe(
        self, subscriber: Subscriber, names: Iterable[str], resume: Resume | None = None
    ) -> list[Subscribed]:
        """Subscribe a connection to feeds; return the position from which it receives each of them live.

        No frame reaches the subscriber before the caller goes on. With ``resume`` frames may: the caller has to hold
        them back until it has written the tails. A feed that the subscriber receives already is returned with its
        present position. A feed is not returned if, during this call, its user was removed, the subscriber
        unsubscribed, or Redis did not return the missed frames.

        Raises:
            FeedUnavailable: Redis did not answer in time. The connection is subscribed to none of the feeds.
        """
        feeds = [self._local.get(name) for name in names]
        self._subscribers_of_user.setdefault(subscriber.user_id, {})[subscriber] = None
        for feed in feeds:
            feed.subscribing[subscriber] = True
        try:
            await self._local.wait_open(feeds, subscriber)
            resumed = await self._resume(subscriber, feeds, resume) if resume is not None else []
            done = {one.feed for one in resumed}
            rest = [feed for feed in feeds if feed.name not in done and feed.subscribing.get(subscriber)]
            return resumed + [Subscribed(feed.name, self._attach(feed, subscriber)) for feed in rest]
        finally:
            for feed in feeds:
                feed.subscribing.pop(subscriber, None)
                self._local.close_later_if_empty(feed)
            if subscriber not in self._feeds_by_subscriber:
                self._forget(subscriber)

    async def _resume(self, subscriber: Subscriber, feeds: list[LocalFeed], resume: Resume) -> list[Subscribed]:
        """Subscribe to those of the feeds that have a point to resume from, one after the other, with their tails."""
        subscribed: list[Subscribed] = []
        wanted = [feed for feed in feeds if feed.name in resume.points]
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                for feed in await self._unconfirmed(wanted, resume):
                    feed.subscribing[subscriber] = False
                for feed in wanted:
                    if subscriber not in feed.subscribers and feed.subscribing.get(subscriber):
                        tail = await missed(self._log, feed, resume, subscriber, self._recovery.wait)
                        if feed.subscribing.get(subscriber):
                            metrics.resumes.labels("unrecoverable" if tail is None else "recovered").inc()
                            position = self._attach(feed, subscriber)
                            subscribed.append(Subscribed(feed.name, position, resumed=True, tail=tail))
        except (TransientError, TimeoutError) as error:
            logger.warning("%d feeds can't be resumed now: %s", len(wanted) - len(subscribed), error)
            for feed in wanted[len(subscribed) :]:
                feed.subscribing[subscriber] = False
        return subscribed

    async def _unconfirmed(self, wanted: list[LocalFeed], resume: Resume) -> list[LocalFeed]:
        """Check the feeds whose epoch isn't the client's, and return those whose logs can't be read now.

        Another process may have reset them before this one: the client would be notified of one loss twice.
        """
        others = [feed for feed in wanted if feed.epoch != resume.points[feed.name].epoch]
        try:
            await self._recovery.confirm(others)
        except TransientError as error:
            logger.info("epochs can't be checked now: %s", error)
            return [feed for feed in others if feed.epoch != resume.points[feed.name].epoch]
        return []

    def unsubscribe(self, subscriber: Subscriber, name: str) -> bool:
        """Deliver no more of a feed to a subscriber, from now on; return whether it received it or was about to."""
        feed = self._feeds.get(name)
        if feed is None:
            return False
        was_subscribing = feed.subscribing.get(subscriber, False)
        if was_subscribing:
            feed.subscribing[subscriber] = False
        if subscriber not in feed.subscribers:
            return was_subscribing
        self._flush_to(feed, subscriber)
        self._detach(feed, subscriber)
        return True

    def unsubscribe_all(self, subscriber: Subscriber) -> None:
        """Forget a subscriber whose connection has ended."""
        for name in list(self._feeds_by_subscriber.get(subscriber, ())):
            self._detach(self._feeds[name], subscriber)
        self._feeds_by_subscriber.pop(subscriber, None)
        self._forget(subscriber)

    def _forget(self, subscriber: Subscriber) -> None:
        of_user = self._subscribers_of_user.get(subscriber.user_id, {})
        of_user.pop(subscriber, None)
        if not of_user:
            self._subscribers_of_user.pop(subscriber.user_id, None)

    def _attach(self, feed: LocalFeed, subscriber: Subscriber) -> Position:
        if subscriber not in feed.subscribers:
            self._flush(feed)
            if feed.linger is not None:
                feed.linger.cancel()
                feed.linger = None
            feed.subscribers[subscriber] = subscriber.deliver
            self._feeds_by_subscriber.setdefault(subscriber, set()).add(feed.name)
            self._subscribers_of_user.setdefault(subscriber.user_id, {})[subscriber] = None
        return feed.position

    def _detach(self, feed: LocalFeed, subscriber: Subscriber) -> None:
        feed.subscribers.pop(subscriber, None)
        if feeds := self._feeds_by_subscriber.get(subscriber):
            feeds.discard(feed.name)
        self._local.close_later_if_empty(feed)

    def _opened(self, feed: LocalFeed) -> None:
        self.openings += 1
        feed.opened = self.openings
        if feed.dirty:
            self._recovery.start(feed)
        if not self._confirms:
            asyncio.get_running_loop().call_later(SUBSCRIBED_SECONDS, self._recovery.start, feed)

    # Receiving

    def _receive(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "publication":
            place = Appended(message["epoch"], message["offset"], message.get("after"))
            self._publication(message["feed"], place, message["entry"], message.get("at"))
            tracing.current.deliver(message)
        elif message["type"] == "ephemeral":
            self.ephemeral.receive(message)
        else:
            self._on_control(message)

    def _publication(self, name: str, place: Appended, entry: bytes, at: int | None = None) -> None:
        feed = self._feeds.get(name)
        if feed is None:
            return
        # The id before is compared as well: a Redis that was restored to an older state assigns offsets again.
        follows_on = (place.epoch, place.offset, place.after) == (feed.epoch, feed.offset + 1, feed.last_id)
        if follows_on and feed.fill is None:
            self._apply(feed, decode_publication(entry))
            if at:
                self._entered.append(at)
            return
        feed.dirty = True
        if feed.epoch:
            self._recovery.start(feed)

    def _apply(self, feed: LocalFeed, publication: Publication) -> None:
        feed.offset += 1
        feed.last_id = publication.id
        if not feed.pending:
            if not self._unflushed:
                asyncio.get_running_loop().call_soon(self._flush_all)
            self._unflushed.append(feed)
        feed.pending.append(feed.stamp(publication.payload, feed.offset))
        command = publication.command
        if isinstance(command, DropUser):
            self._drop(feed, command.user_id)
        elif command is not None:
            for subscriber in list(feed.subscribers):
                subscriber.access_changed(command.feed)

    def _drop(self, feed: LocalFeed, user_id: int) -> None:
        for subscriber in list(self._subscribers_of_user.get(user_id, ())):
            if subscriber in feed.subscribing:
                feed.subscribing[subscriber] = False
            if subscriber in feed.subscribers:
                self._flush_to(feed, subscriber)
                self._detach(feed, subscriber)
                subscriber.removed_from_feed(feed.name, feed.position)
        for listener in self._listeners:
            listener.user_removed(user_id, feed.name)

    def _reset(self, feed: LocalFeed, position: Position) -> None:
        self._flush(feed)
        feed.move_to(position)
        for subscriber in list(feed.subscribers):
            if not subscriber.feed_reset(feed.name, position):
                self._detach(feed, subscriber)

    def _flush_all(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        began = time.perf_counter()
        for feed in unflushed:
            self._flush(feed)
        handed_out, self._handed_out = self._handed_out, []
        metrics.publications_sent(handed_out)
        metrics.fanout_seconds.observe(time.perf_counter() - began)
        entered, self._entered = self._entered, []
        metrics.observe_ages(entered)

    def _flush(self, feed: LocalFeed) -> None:
        frames, feed.pending = feed.pending, []
        if frames:
            self._deliver(feed, frames, list(feed.subscribers.values()))

    def _flush_to(self, feed: LocalFeed, subscriber: Subscriber) -> None:
        """Deliver what is pending to a subscriber that leaves; the others get it at the end of the turn."""
        if feed.pending:
            self._deliver(feed, list(feed.pending), [feed.subscribers[subscriber]])

    def _deliver(self, feed: LocalFeed, frames: list[bytes], deliveries: list[Callable[[Batch], None]]) -> None:
        batch = Batch(frames, live=True)
        for deliver in deliveries:
            try:
                deliver(batch)
            except Exception:  # a boundary: an error with one subscriber must not cost the others
                logger.exception("a batch of feed %s was not delivered to a connection", feed.name)
        self._handed_out.append((frames, len(deliveries)))

    def _resubscribed(self) -> None:
        self._recovery.wanted.set()
        for listener in self._listeners:
            listener.reconnected()

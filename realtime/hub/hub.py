"""One process's fan-out: it hears each feed once for all local connections and hands them each publication in order.

What the channel layer brings is a hint; the log is the truth. A gap is filled from it, and what it can't fill is told.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from realtime.aio import tasks
from realtime.conf import RealtimeConf
from realtime.exceptions import FeedUnavailable, TransientError
from realtime.feeds.log import Appended, FeedLog, Position
from realtime.feeds.names import channels_group
from realtime.feeds.publication import DropUser, Publication, decode_publication
from realtime.hub.batch import Batch
from realtime.hub.ephemeral import Ephemeral
from realtime.hub.receiver import Receiver
from realtime.hub.recovery import RETRY_SECONDS, Recovery
from realtime.hub.resume import Joined, Resume, missed
from realtime.hub.subscription import LocalFeed, Subscriber
from realtime.layers.protocol import Layer
from realtime.observability import metrics, tracing

logger = logging.getLogger(__name__)

CHECK_SECONDS, CHECK_SECONDS_FOREIGN = 10.0, 2.0
"""How often positions are checked: with a layer that tells when it was deaf, and with one that doesn't."""
OPEN_SECONDS = 5.0
SUBSCRIBED_SECONDS = 0.3
"""A foreign layer's `group_add` returns before Redis has subscribed; by then it has."""


class Hub:
    """All feeds that this process hears, and who hears them."""

    def __init__(self, layer: Layer, log: FeedLog, conf: RealtimeConf) -> None:
        self._layer: Any = layer
        self._confirms = hasattr(layer, "on_resubscribed")
        self._log = log
        self._conf = conf
        self._feeds: dict[str, LocalFeed] = {}
        self._heard_by: dict[Subscriber, set[str]] = {}
        self._unflushed: list[LocalFeed] = []
        self._handed_out: list[tuple[Sequence[bytes], int]] = []
        """What went out since the counters were told: frames, and to how many connections."""
        self._entered: list[int] = []
        """When what is handed out next entered its stream, in Unix milliseconds."""
        self._tasks = tasks.Group()
        self.ephemeral = Ephemeral(layer, self._feeds, self._tasks, conf.ephemeral_per_second)
        self._recovery = Recovery(log, self._feeds, self._tasks, apply=self._apply, reset=self._reset)
        self._receiver = Receiver(layer, self._receive)
        self.on_drop: Callable[[int, str], None] = lambda user_id, feed: None
        """Told of every removal that passes: user id, feed. Members hear of their own by `Member.dropped`."""
        self.on_control: Callable[[Mapping[str, Any]], None] = lambda message: None
        """Told of messages to all gateways."""
        self.on_reconnect: Callable[[], None] = lambda: None
        """Told when the layer hears again after it was deaf."""

    def start(self) -> None:
        """Begin to receive, as soon as Redis is there."""
        if self._confirms:
            self._layer.on_resubscribed(self._resubscribed)
        every = self._conf.check_seconds or (CHECK_SECONDS if self._confirms else CHECK_SECONDS_FOREIGN)
        self._tasks.supervise(self._receiver.run, "hub receiver")
        self._tasks.supervise(lambda: self._recovery.run(every), "hub position check")

    async def stop(self) -> None:
        """End every task of the hub."""
        await self._tasks.end()

    async def check_all(self) -> None:
        """Compare the position of every feed with its log now. Raises what Redis raises."""
        await self._recovery.check_all()

    # Joining and leaving

    def is_subscribed(self, feed: str) -> bool:
        """Whether this process hears the feed already, its position known."""
        known = self._feeds.get(feed)
        return known is not None and bool(known.epoch) and known.closing is None

    def feeds_of(self, member: Subscriber) -> set[str]:
        """The feeds that a connection hears; don't change it."""
        return self._heard_by.get(member, set())

    async def ensure_subscribed(self, names: Iterable[str]) -> None:
        """Hear these feeds, so that what comes after an answer about them can't be missed.

        Raises:
            FeedUnavailable: Redis did not answer in time.
        """
        await self._wait_open([self._feed(name) for name in names])

    async def join(self, member: Subscriber, names: Iterable[str], resume: Resume | None = None) -> list[Joined]:
        """Let a connection hear feeds, from the positions that are answered.

        No frame reaches the member before the caller goes on, unless with ``resume``: then the caller holds them back
        until the tails are written. A feed that the member hears already is answered with its present position. Missing
        from the answer is one whose user was dropped meanwhile, that the member left, or whose tail Redis didn't give.

        Raises:
            FeedUnavailable: Redis did not answer in time; the member joined none of them.
        """
        wanted = [self._feed(name) for name in names]
        for feed in wanted:
            feed.joining[member] = True
        resumed: list[Joined] = []
        try:
            wanted = await self._wait_open(wanted, member)
            if resume is not None:
                left_off = [feed for feed in wanted if feed.name in resume.points]
                resumed = await self._join_resumed(member, left_off, resume) if left_off else []
            done = {joined.feed for joined in resumed}
            rest = [feed for feed in wanted if feed.name not in done and feed.joining.get(member)]
            return resumed + [Joined(feed.name, self._attach(feed, member)) for feed in rest]
        finally:
            for feed in wanted:
                feed.joining.pop(member, None)
                self._linger_if_empty(feed)

    async def _join_resumed(self, member: Subscriber, wanted: list[LocalFeed], resume: Resume) -> list[Joined]:
        joined: list[Joined] = []
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                for feed in wanted:
                    if member not in feed.members:
                        tail = await missed(self._log, feed, resume, member, self._recovery.wait)
                        if feed.joining.get(member):
                            metrics.resumes.labels("unrecoverable" if tail is None else "recovered").inc()
                            joined.append(Joined(feed.name, self._attach(feed, member), resumed=True, tail=tail))
        except (TransientError, TimeoutError) as error:
            logger.warning("%d feeds can't be resumed now: %s", len(wanted) - len(joined), error)
            for feed in wanted[len(joined) :]:
                feed.joining[member] = False
        return joined

    def leave(self, member: Subscriber, name: str) -> bool:
        """Stop a connection's hearing a feed, at once; whether it heard it or was about to."""
        feed = self._feeds.get(name)
        if feed is None:
            return False
        joining = feed.joining.get(member, False)
        if joining:
            feed.joining[member] = False
        if member not in feed.members:
            return joining
        self._flush(feed)
        self._detach(feed, member)
        return True

    def leave_all(self, member: Subscriber) -> None:
        """Forget a connection that is gone."""
        for name in list(self._heard_by.get(member, ())):
            self._detach(self._feeds[name], member)
        self._heard_by.pop(member, None)

    def _feed(self, name: str) -> LocalFeed:
        feed = self._feeds.get(name)
        if feed is None:
            feed = self._feeds[name] = LocalFeed(name)
            feed.opening = self._tasks.spawn(self._open(feed), f"opening feed {name}")
            metrics.feeds.set(len(self._feeds))
        return feed

    async def _wait_open(self, wanted: list[LocalFeed], member: Subscriber | None = None) -> list[LocalFeed]:
        """Wait until all are open; one that was about to close is replaced by its successor."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                for index, feed in enumerate(wanted):
                    while feed.closing is not None:
                        await asyncio.shield(feed.closing)
                        still = feed.joining.pop(member, True) if member is not None else True
                        feed = wanted[index] = self._feed(feed.name)
                        if member is not None:
                            feed.joining[member] = still
                    if feed.opening is not None:
                        await asyncio.shield(feed.opening)
        except TimeoutError:
            raise FeedUnavailable("Redis did not answer in time") from None
        # Some may have begun to close while others opened: from here to the caller nothing waits.
        if any(feed.closing is not None for feed in wanted):
            return await self._wait_open(wanted, member)
        return wanted

    def _attach(self, feed: LocalFeed, member: Subscriber) -> Position:
        if member not in feed.members:
            self._flush(feed)
            if feed.linger is not None:
                feed.linger.cancel()
                feed.linger = None
            feed.members[member] = member.deliver
            self._heard_by.setdefault(member, set()).add(feed.name)
        return feed.position

    def _detach(self, feed: LocalFeed, member: Subscriber) -> None:
        feed.members.pop(member, None)
        heard = self._heard_by.get(member)
        if heard is not None:
            heard.discard(feed.name)
        self._linger_if_empty(feed)

    def _linger_if_empty(self, feed: LocalFeed) -> None:
        if not feed.members and not feed.joining and feed.linger is None and feed.closing is None:
            feed.linger = asyncio.get_running_loop().call_later(self._conf.linger_seconds, self._close, feed)

    def _close(self, feed: LocalFeed) -> None:
        feed.linger = None
        if feed.members or feed.joining or self._feeds.get(feed.name) is not feed:
            return
        feed.closing = self._tasks.spawn(self._discard(feed), f"closing feed {feed.name}")

    async def _discard(self, feed: LocalFeed) -> None:
        await tasks.end(task for task in (feed.opening, feed.fill) if task is not None)
        try:
            await self._layer.group_discard(channels_group(feed.name), self._receiver.channel)
        except Exception as error:  # a foreign layer raises errors of its own
            logger.warning("leaving the group of %s failed: %s", feed.name, error)
        finally:
            del self._feeds[feed.name]
            metrics.feeds.set(len(self._feeds))

    async def _open(self, feed: LocalFeed) -> None:
        await self._receiver.ready.wait()
        warned = False
        while True:
            try:
                await self._layer.group_add(channels_group(feed.name), self._receiver.channel)
                feed.move_to(await self._log.ensure(feed.name))
                break
            except Exception as error:  # a foreign layer raises errors of its own
                if not warned:
                    logger.warning("feed %s can't be opened yet, trying again: %s", feed.name, error)
                    warned = True
                await asyncio.sleep(RETRY_SECONDS)
        feed.opening = None
        if feed.dirty:
            self._recovery.start(feed)
        if not self._confirms:
            asyncio.get_running_loop().call_later(SUBSCRIBED_SECONDS, self._recovery.start, feed)
        self._linger_if_empty(feed)

    # Receiving

    def _receive(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "publication":
            place = Appended(message["epoch"], message["offset"], message.get("after"))
            self._publication(message["feed"], place, message["entry"], message.get("at"))
            tracing.current.deliver(message)
        elif message["type"] == "ephemeral":
            self.ephemeral.receive(message)
        else:
            self.on_control(message)

    def _publication(self, name: str, place: Appended, entry: bytes, at: int | None = None) -> None:
        feed = self._feeds.get(name)
        if feed is None:
            return
        # The id before it is looked at since a Redis that went back in time gives an offset out again.
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
            self._flush(feed)
            self._drop(feed, command.user_id)
        elif command is not None:
            for member in list(feed.members):
                member.ask_access(command.feed)

    def _drop(self, feed: LocalFeed, user_id: int) -> None:
        for member in feed.joining:
            if member.user_id == user_id:
                feed.joining[member] = False
        for member in [member for member in feed.members if member.user_id == user_id]:
            self._detach(feed, member)
            member.dropped(feed.name, feed.position)
        self.on_drop(user_id, feed.name)

    def _reset(self, feed: LocalFeed, position: Position) -> None:
        self._flush(feed)
        feed.move_to(position)
        for member in list(feed.members):
            if not member.feed_reset(feed.name, position):
                self._detach(feed, member)

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
        if not frames:
            return
        deliveries = list(feed.members.values())
        batch = Batch(frames)
        for deliver in deliveries:
            deliver(batch)
        self._handed_out.append((frames, len(deliveries)))

    def _resubscribed(self) -> None:
        self._recovery.wanted.set()
        self.on_reconnect()

"""Reading the logs of the feeds that a process hears: fills gaps, finds what nobody told of, notices a lost log.

The hub's: it asks for a feed to be read whenever a publication doesn't follow on; here it is decided what goes out.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from realtime.aio import tasks
from realtime.exceptions import TransientError
from realtime.feeds.log import FeedLog, LogSlice, Position
from realtime.feeds.publication import Publication, decode_publication
from realtime.hub.subscription import LocalFeed
from realtime.observability import metrics

logger = logging.getLogger(__name__)

READ_AT_ONCE = 500
CHECKED_AT_ONCE = 200
"""Positions in one pipeline: 10,000 at once would stall the loop for a tenth of a second."""
FILLED_AT_ONCE = 50
RETRY_SECONDS = 0.5
SETTLE_SECONDS = 0.2
"""How long a publication may take from its log to us before it counts as missed."""

Apply = Callable[[LocalFeed, Publication], None]
Reset = Callable[[LocalFeed, Position], None]


class Recovery:
    """Brings feeds level with their logs. ``apply`` takes each publication in order, ``reset`` a break in them."""

    def __init__(
        self, log: FeedLog, heard: Mapping[str, LocalFeed], tasks: tasks.Group, *, apply: Apply, reset: Reset
    ) -> None:
        self._log = log
        self._heard = heard
        self._tasks = tasks
        self._apply = apply
        self._reset = reset
        self._filling = asyncio.Semaphore(FILLED_AT_ONCE)
        self.wanted = asyncio.Event()
        """Set when all feeds should be checked soon, since a log could not be read."""

    def start(self, feed: LocalFeed) -> None:
        """Read a feed's log in the background, unless that is under way."""
        if feed.fill is None and feed.epoch and feed.closing is None and self._heard.get(feed.name) is feed:
            feed.fill = self._tasks.spawn(self._fill(feed), f"filling feed {feed.name}")

    async def wait(self, feed: LocalFeed) -> None:
        """Read a feed's log and return when that is done, however it ended."""
        self.start(feed)
        if feed.fill is not None:
            await asyncio.wait([feed.fill])

    async def run(self, every: float) -> None:
        """Check all feeds, now and then, and soon after the layer was deaf or a log could not be read."""
        wanted = self.wanted
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await wanted.wait()
            try:
                wanted.clear()
                await self.check_all()
            except TransientError as error:
                wanted.set()
                logger.info("positions can't be checked now: %s", error)
            if wanted.is_set():
                await asyncio.sleep(RETRY_SECONDS)

    async def check_all(self) -> None:
        """Compare the position of every feed with its log, and read those that differ. Raises what Redis raises."""
        metrics.position_checks.inc()
        names = [name for name, feed in self._heard.items() if feed.epoch]
        ahead: list[tuple[LocalFeed, Position]] = []
        for start in range(0, len(names), CHECKED_AT_ONCE):
            chunk = [
                (feed, feed.position)
                for name in names[start : start + CHECKED_AT_ONCE]
                if (feed := self._heard.get(name))
            ]
            tops = await self._log.positions([feed.name for feed, _ in chunk])
            for (feed, seen), top in zip(chunk, tops, strict=True):
                if top == seen or feed.position != seen:
                    continue
                if top and top.epoch == seen.epoch and top.offset > seen.offset:
                    ahead.append((feed, seen))
                else:
                    self.start(feed)
        if ahead:  # as a rule the publication is on its way: only what doesn't move meanwhile is read
            await asyncio.sleep(SETTLE_SECONDS)
        for feed, seen in ahead:
            if feed.position == seen:
                self.start(feed)

    async def _fill(self, feed: LocalFeed) -> None:
        """Read the log from our offset until nothing new came meanwhile. Live publications only mark the feed dirty."""
        try:
            async with self._filling:
                metrics.gaps.labels("found").inc()
                while True:
                    feed.dirty = False
                    rest = await self._log.read(feed.name, feed.offset, READ_AT_ONCE)
                    if await self._judge(feed, rest):
                        if rest.entries:
                            metrics.gaps.labels("healed").inc()
                        for entry in rest.entries:
                            self._apply(feed, decode_publication(entry))
                    if not feed.dirty and feed.offset >= rest.position.offset:
                        return
        except TransientError as error:
            logger.info("feed %s can't be read now, trying again: %s", feed.name, error)
            self.wanted.set()
        finally:
            feed.fill = None

    async def _judge(self, feed: LocalFeed, rest: LogSlice) -> bool:
        """Whether the log goes on from where we are; else the feed has been reset."""
        top = rest.position
        if top.epoch != feed.epoch:
            self._break(feed, top, "a new epoch began")
            return False
        at_ours = rest.id_at or (top.last_id if top.offset == feed.offset else "")
        if top.offset < feed.offset or (at_ours and feed.last_id and at_ours != feed.last_id):
            self._break(feed, await self._log.renew(feed.name, feed.epoch), "Redis went back in time")
            return False
        if top.offset > feed.offset and rest.first > feed.offset + 1:
            self._break(feed, top, "the log no longer reaches back")
            return False
        return True

    def _break(self, feed: LocalFeed, position: Position, why: str) -> None:
        metrics.gaps.labels("lost").inc()
        logger.warning(
            "feed %s was reset from %s/%d to %s/%d: %s",
            feed.name, feed.epoch, feed.offset, position.epoch, position.offset, why,
        )  # fmt: skip
        self._reset(feed, position)

"""Read the logs of the feeds that a process receives: fill gaps, find publications that were never announced, and
detect a log that was lost.

The hub starts a read when a publication doesn't follow on. This module decides what is delivered.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from realtime.aio import tasks
from realtime.aio.waiting import wait_event
from realtime.exceptions import RedisUnavailable, TransientError
from realtime.feeds.log import FeedLog, LogSlice, Position
from realtime.feeds.publication import Publication, decode_publication
from realtime.hub.subscription import LocalFeed
from realtime.observability import metrics

logger = logging.getLogger(__name__)

READ_AT_ONCE = 500
CHECKED_AT_ONCE = 200
"""Positions in one pipeline: 10,000 at once would block the loop for a tenth of a second."""
FILLED_AT_ONCE = 50
RETRY_SECONDS = 0.5
SETTLE_SECONDS = 0.2
"""How long a publication may take from its log to this process before it counts as missed."""

Apply = Callable[[LocalFeed, Publication], None]
Reset = Callable[[LocalFeed, Position], None]


class Recovery:
    """Brings feeds up to the end of their logs.

    Calls ``apply`` with each missing publication, in order, and ``reset`` with the new position if the log can't give
    all of them.
    """

    def __init__(
        self, log: FeedLog, feeds: Mapping[str, LocalFeed], group: tasks.Group, *, apply: Apply, reset: Reset
    ) -> None:
        self._log = log
        self._feeds = feeds
        self._tasks = group
        self._apply = apply
        self._reset = reset
        self._filling = asyncio.Semaphore(FILLED_AT_ONCE)
        self.wanted = asyncio.Event()
        """Set to have all feeds checked soon."""

    def start(self, feed: LocalFeed) -> None:
        """Read a feed's log in the background, unless a read is under way."""
        if feed.fill is None and feed.epoch and feed.closing is None and self._feeds.get(feed.name) is feed:
            feed.fill = self._tasks.spawn(self._fill(feed), f"filling feed {feed.name}")

    async def wait(self, feed: LocalFeed) -> None:
        """Read a feed's log and return once that has ended.

        Raises:
            RedisUnavailable: the log could not be read.
        """
        self.start(feed)
        await _read([feed])

    async def confirm(self, feeds: Sequence[LocalFeed]) -> None:
        """Compare the positions of some feeds with their logs, and return once those that were lost have been reset.

        Raises:
            RedisUnavailable: not all positions and logs could be read.
        """
        names = [feed.name for feed in feeds]
        for start in range(0, len(names), CHECKED_AT_ONCE):
            await self._check(names[start : start + CHECKED_AT_ONCE])
        await _read(feeds)

    async def run(self, every: float) -> None:
        """Check all feeds each ``every`` seconds, and soon after the layer reconnected or a log could not be read."""
        while True:
            await wait_event(self.wanted, every)
            try:
                self.wanted.clear()
                await self.check_all()
            except TransientError as error:
                self.wanted.set()
                logger.info("positions can't be checked now: %s", error)
            if self.wanted.is_set():
                await asyncio.sleep(RETRY_SECONDS)

    async def check_all(self) -> None:
        """Compare the position of every feed with its log, and read the logs that differ.

        Raises:
            RedisUnavailable: not all positions could be read.
        """
        metrics.position_checks.inc()
        names = [name for name, feed in self._feeds.items() if feed.epoch]
        behind: list[tuple[LocalFeed, Position]] = []
        for start in range(0, len(names), CHECKED_AT_ONCE):
            behind += await self._check(names[start : start + CHECKED_AT_ONCE])
        if behind:  # most hints are only some milliseconds late: read the feeds whose position doesn't change
            await asyncio.sleep(SETTLE_SECONDS)
        for feed, position in behind:
            if feed.position == position:
                self.start(feed)

    async def _check(self, names: list[str]) -> list[tuple[LocalFeed, Position]]:
        """Return the feeds whose log is only ahead, each with this process's position before the check.

        Start reading those whose log has no position (Redis was flushed), another epoch, or a smaller offset.
        """
        checked = [(feed, feed.position) for name in names if (feed := self._feeds.get(name)) is not None]
        behind: list[tuple[LocalFeed, Position]] = []
        ends = await self._log.positions([feed.name for feed, _ in checked])
        for (feed, position), end in zip(checked, ends, strict=True):
            if end == position or feed.position != position:
                continue
            if end is not None and end.epoch == position.epoch and end.offset > position.offset:
                behind.append((feed, position))
            else:
                self.start(feed)
        return behind

    async def _fill(self, feed: LocalFeed) -> None:
        """Read the log in steps, until the feed is at its end and no publication arrived during the last read.

        A publication that arrives during a read only marks the feed dirty.
        """
        try:
            async with self._filling:
                metrics.gaps.labels("found").inc()
                while True:
                    feed.dirty = False
                    found = await self._log.read(feed.name, feed.offset, READ_AT_ONCE)
                    if await self._follows_on(feed, found):
                        if found.entries:
                            metrics.gaps.labels("healed").inc()
                        for entry in found.entries:
                            self._apply(feed, decode_publication(entry))
                    if not feed.dirty and feed.offset >= found.position.offset:
                        return
        except TransientError as error:
            feed.dirty = True
            logger.info("feed %s can't be read now, retrying: %s", feed.name, error)
            self.wanted.set()
        finally:
            feed.fill = None

    async def _follows_on(self, feed: LocalFeed, found: LogSlice) -> bool:
        """Return whether the entries continue from the feed's position; reset the feed if they don't."""
        end = found.position
        if end.epoch in feed.past_epochs:
            # Offsets of this epoch were given to publications that are lost: it must not go on.
            position = await self._log.reset_epoch(feed.name, end.epoch)
            self._break(feed, position, "Redis went back in time, to an epoch that had ended")
        elif end.epoch != feed.epoch:
            self._break(feed, end, "a new epoch began")
        elif _went_back(feed.position, found):
            self._break(feed, await self._log.reset_epoch(feed.name, feed.epoch), "Redis went back in time")
        elif end.offset > feed.offset and found.first > feed.offset + 1:
            self._break(feed, end, "the log no longer reaches back")
        else:
            return True
        return False

    def _break(self, feed: LocalFeed, position: Position, why: str) -> None:
        metrics.gaps.labels("lost").inc()
        logger.warning(
            "feed %s was reset from %s/%d to %s/%d: %s",
            feed.name, feed.epoch, feed.offset, position.epoch, position.offset, why,
        )  # fmt: skip
        self._reset(feed, position)


async def _read(feeds: Sequence[LocalFeed]) -> None:
    """Return once the reads of logs that are under way have ended; raise RedisUnavailable if one failed."""
    if fills := [feed.fill for feed in feeds if feed.fill is not None]:
        await asyncio.wait(fills)
        if any(feed.dirty for feed in feeds):
            raise RedisUnavailable("a log could not be read")


def _went_back(known: Position, found: LogSlice) -> bool:
    """Return whether the log lost entries that were delivered: it is shorter, or has another entry at our offset."""
    end = found.position
    id_in_log = found.id_at or (end.last_id if end.offset == known.offset else "")
    return end.offset < known.offset or bool(id_in_log and known.last_id and id_in_log != known.last_id)

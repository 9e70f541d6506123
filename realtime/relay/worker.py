"""A topic's loop: lease, read, sink, commit. Nothing is committed before its batch is out, nothing overtakes.

What may succeed later is tried again in place; what never can, judged from its bytes, becomes a dead letter.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from realtime.conf import RealtimeConf
from realtime.exceptions import PoisonEntry, TryLater
from realtime.feeds import Publication
from realtime.publisher import Publisher, Routed
from realtime.redis import Redis, is_transient
from realtime.relay.entry import Entry
from realtime.relay.lease import Lease
from realtime.relay.topic import RawEntry, Topic

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0
SPREAD_SECONDS = 10.0
"""How long a relay holds a topic before it leaves it to the one that should have it."""
TRIM_SECONDS = 30.0
SAY_AGAIN_SECONDS = 10.0
"""How often a lasting trouble is reported."""

Parse = Callable[[str, Mapping[bytes, bytes]], Entry]
Poison = tuple[Entry, str]
Sink = Callable[[Sequence[Entry]], Awaitable[Sequence[Poison]]]
"""Takes a batch, in order; answers those that can never succeed, each with the reason. Safe to repeat as a whole."""
Route = Callable[[Entry], Sequence[tuple[str, Publication]]]
"""The publications of an entry, each with its feed; raises `PoisonEntry`."""


def feed_sink(topic: str, route: Route, publisher: Publisher) -> Sink:
    """A sink that publishes what ``route`` makes of each entry."""

    async def sink(entries: Sequence[Entry]) -> Sequence[Poison]:
        routed: list[Routed] = []
        poison: list[Poison] = []
        for entry in entries:
            try:
                routed += [Routed(entry.id, feed, publication) for feed, publication in route(entry)]
            except PoisonEntry as error:
                poison.append((entry, str(error)))
        await publisher.publish(topic, routed)
        return poison

    return sink


class TopicWorker:
    """Relays one topic while it holds the topic's lease; else it stands by.

    ``name`` is the relay's. Where several relays serve a topic, the one at ``number``, counted round, is to hold it in
    the long run, so that topics spread over relays; until then whoever came first goes on.
    """

    def __init__(
        self, redis: Redis, topic: Topic, parse: Parse, sink: Sink, conf: RealtimeConf, *, name: str, number: int = 0
    ) -> None:
        self.topic = topic
        self.relayed = 0
        self.committed = ""
        """The cursor as this worker last knew it."""
        self._parse = parse
        self._sink = sink
        self._name = name
        self._number = number
        self._lease = Lease(redis, topic.name, conf.relay_lease_seconds, name)
        self._batch = conf.relay_batch
        self._third = conf.relay_lease_seconds / 3
        self._stopping = asyncio.Event()
        self._trimmed = 0.0

    def stop(self) -> None:
        """Finish the batch under way, then end."""
        self._stopping.set()

    async def run(self) -> None:
        """Work, or stand by, until `stop`."""
        wait, said = FIRST_WAIT, -SAY_AGAIN_SECONDS
        while not self._stopping.is_set():
            try:
                await self._lease.sign_in()
                token = await self._lease.take()
                if token:
                    await self._relay(token)
                wait, said = FIRST_WAIT, -SAY_AGAIN_SECONDS
                await self._pause(self._third)
            except Exception as error:
                longest = LONGEST_WAIT
                if isinstance(error, TryLater) or is_transient(error):
                    if time.monotonic() - said >= SAY_AGAIN_SECONDS:
                        said = time.monotonic()
                        logger.warning("%s: waiting: %s", self.topic.name, error or repr(error))
                    longest = self._third  # who stands by has to be there when it is needed
                else:
                    logger.exception("%s: relaying failed, trying again in %.1f s", self.topic.name, wait)
                await self._pause(wait)
                wait = min(2 * wait, longest)
        try:
            await self._lease.give_back()
            await self._lease.sign_out()
        except Exception as error:
            logger.warning("%s: the lease could not be given back: %s", self.topic.name, error)

    async def _relay(self, token: int) -> None:
        cursor = self.committed = await self.topic.start()
        since = looked = time.monotonic()
        logger.info("%s: relaying from %s", self.topic.name, cursor)
        while not self._stopping.is_set() and await self._lease.take() == token:
            batch = await self.topic.read(cursor, self._batch, int(self._third * 1000))
            if batch:
                await self._deliver(token, batch)
                last = batch[-1][0]
                if not await self.topic.commit(token, cursor, last, len(batch)):
                    break
                cursor = self.committed = last
                self.relayed += len(batch)
            if time.monotonic() - looked >= self._third:
                looked = time.monotonic()
                await self._look_after(cursor)
                if looked - since >= SPREAD_SECONDS and await self._is_another_s():
                    return
        else:
            if self._stopping.is_set():
                return
        logger.info("%s: another relay has taken over", self.topic.name)

    async def _look_after(self, cursor: str) -> None:
        await self._lease.sign_in()
        await self.topic.look_for_losses(cursor)
        if self.topic.is_ours and time.monotonic() - self._trimmed >= TRIM_SECONDS:
            self._trimmed = time.monotonic()
            await self.topic.trim(cursor)

    async def _is_another_s(self) -> bool:
        """Whether another relay is to hold this topic; then the lease is free, and left alone for a while."""
        relays = await self._lease.sign_in()
        rightful = relays[self._number % len(relays)]
        if rightful == self._name:
            return False
        logger.info("%s: leaving it to the relay %s", self.topic.name, rightful)
        await self._lease.give_back()
        await self._pause(3 * self._third)
        return True

    async def _deliver(self, token: int, batch: Sequence[RawEntry]) -> None:
        raw = dict(batch)
        entries: list[Entry] = []
        poison: dict[str, str] = {}
        for entry_id, fields in batch:
            try:
                entries.append(self._parse(entry_id, fields))
            except PoisonEntry as error:
                poison[entry_id] = str(error)
        if entries:
            poison |= {entry.id: reason for entry, reason in await self._until_it_succeeds(token, entries)}
        for entry_id in raw:
            if entry_id in poison:
                await self.topic.dead_letter((entry_id, raw[entry_id]), poison[entry_id])

    async def _until_it_succeeds(self, token: int, entries: Sequence[Entry]) -> Sequence[Poison]:
        wait = FIRST_WAIT
        while True:
            try:
                return await self._sink(entries)
            except Exception as error:
                if self._stopping.is_set() or not (isinstance(error, TryLater) or is_transient(error)):
                    raise
                logger.warning("%s: trying %s again in %.1f s: %s", self.topic.name, entries[0].id, wait, error)
            until = time.monotonic() + wait
            while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
                if await self._lease.take() != token:
                    raise TryLater("another relay has taken over")
                await self._pause(min(left, self._third))
            wait = min(2 * wait, LONGEST_WAIT)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


async def report(workers: Sequence[TopicWorker], every: float = 60.0) -> None:
    """A log line a minute: what each topic relayed since the last, and how many entries wait."""
    before = {worker.topic.name: worker.relayed for worker in workers}
    since = time.monotonic()
    while True:
        await asyncio.sleep(every)
        seconds, since = time.monotonic() - since, time.monotonic()
        parts = []
        for worker in workers:
            name = worker.topic.name
            rate = (worker.relayed - before[name]) / seconds
            before[name] = worker.relayed
            try:
                lag: object = await worker.topic.lag()
            except Exception as error:
                lag = f"unknown ({error})"
            parts.append(f"{name} {rate:.1f}/s lag {lag}")
        logger.info("relay: %s", ", ".join(parts))

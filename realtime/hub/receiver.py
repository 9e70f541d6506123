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
    """Reads the process's channel and calls ``handle`` with each message. A bad message is logged and skipped."""

    def __init__(self, layer: Layer, handle: Callable[[Mapping[str, Any]], None]) -> None:
        self._layer = layer
        self._handle = handle
        self.channel = ""
        self.ready = asyncio.Event()
        """Set once the process has a channel of the layer."""
        self.failure = ""
        """Why there was no channel when that was last tried."""

    async def run(self) -> None:
        """Receive until cancelled; wait for the layer to become available first."""
        await self._open()
        receive_all = getattr(self._layer, "receive_all", None)
        while True:
            try:
                messages = await (receive_all(self.channel) if receive_all else self._receive_one())
            except Exception:  # a boundary: one message that can't be decoded must not end the loop
                logger.exception("a message of the channel layer could not be read")
                await asyncio.sleep(0)
                continue
            for message in messages:
                try:
                    self._handle(message)
                except Exception:  # a boundary: nor one that can't be handled
                    logger.exception("a message of the channel layer could not be handled")

    async def _open(self) -> None:
        channel = ""
        while not self.channel:
            try:
                channel = channel or await self._layer.new_channel()
                await self._layer.group_add(CONTROL_GROUP, channel)
                self.channel = channel
            except Exception as error:  # a foreign layer raises errors of its own
                self.failure = str(error)
                logger.warning("the channel layer is unavailable, retrying: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        self.failure = ""
        self.ready.set()

    async def _receive_one(self) -> list[dict[str, Any]]:
        return [await self._layer.receive(self.channel)]

"""Devices with the real Python client."""

import time
from collections.abc import Mapping
from typing import Any

from chatws.client.client import ChatClient
from chatws.client.events import Closed, Disconnected, Event, Frame, Refused
from chatws.client.positions import Position
from tests.simulation.devices import BaseDevice, Place

__all__ = ["Device", "Place"]


class Device(BaseDevice):
    """A device with `ChatClient`: it reconnects, resumes and repeats."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.closed: Closed | None = None
        """How the client has ended, if by itself."""
        self.client: ChatClient | None = None
        self.reads_every = 0.0
        """How long the application takes for each event, in seconds."""

    def start(self, positions: Mapping[str, Position] | None = None) -> None:
        """Start the client, with the positions of an earlier one or none."""
        self.closed, self.client = None, None
        self.run(self._run(positions))

    def restart(self, *, keeps_positions: bool = True) -> None:
        """Kill the client's program and start it again."""
        positions = self.client.positions.all() if keeps_positions and self.client is not None else None
        self.kill()
        self.start(positions)

    def close(self) -> None:
        """Close the client as its program does."""
        self.is_running = False
        if self.client is not None:
            self.process.start(self.client.close(), "closing")

    def wake(self) -> None:
        """Let the device go on; its program asks for a connection at once, as apps do."""
        super().wake()
        if self.client is not None:
            self.process.loop.call_soon(self.client.hurry)

    @property
    def is_online(self) -> bool:
        return self.is_running and self.client is not None and self.client._connection is not None

    def position(self, feed: str) -> Place | None:
        return self.client.positions.get(feed) if self.client is not None else None

    async def _run(self, positions: Mapping[str, Position] | None) -> None:
        client = ChatClient(
            self._url, self._token, positions=positions, observer=self._observe, first_wait=0.1, longest_wait=2.0
        )
        loop, self.client = self.process.loop, client
        async with client:
            try:
                async for event in client:
                    self._happened(event)
                    if self.reads_every:
                        until = loop.create_future()
                        loop.call_later(self.reads_every, until.set_result, None)
                        await until
            except Closed as error:
                self.closed, self.is_running = error, False

    async def _token(self, *, fresh: bool) -> str:
        return self.token()

    def _happened(self, event: Event) -> None:
        if isinstance(event, Disconnected):
            self.closes.append(event.code)

    # What it does

    def send(self, group_id: str, content: str) -> None:
        """Send a message; ``acked`` or ``refused`` is called with the outcome."""
        self.process.start(self._send(group_id, content), "sending")

    async def _send(self, group_id: str, content: str) -> None:
        assert self.client is not None, "the device has not started"
        began = time.monotonic()
        try:
            message_id = await self.client.send_message(group_id, content)
        except Refused as error:
            if self._refused is not None:
                self._refused(group_id, error)
        except Closed:
            return
        else:
            if self._acked is not None:
                self._acked(message_id, group_id, began)

    def request(self, kind: str, **data: Any) -> None:
        """Send another frame, such as ``mark_read``; nobody waits for its answer."""
        self.process.start(self._request(kind, data), kind)

    async def _request(self, kind: str, data: Frame) -> None:
        assert self.client is not None, "the device has not started"
        try:
            await self.client.request(kind, data)
        except (Refused, Closed):
            return

    def typing(self, group_id: str, typing: bool = True) -> None:
        """Say that the user types, or no longer does."""
        if self.client is not None:
            self.process.loop.call_soon(self.client.typing, group_id, typing)

"""A client of the gateway for Python programs: `ChatClient`. It needs the `websockets` library."""

from chatws.client.client import ChatClient
from chatws.client.events import Closed, Connected, Disconnected, Event, Frame, Lost, Received, Refused
from chatws.client.positions import Position
from chatws.client.tokens import TokenFunction

__all__ = [
    "ChatClient", "Closed", "Connected", "Disconnected", "Event", "Frame", "Lost", "Position", "Received", "Refused",
    "TokenFunction",
]  # fmt: skip

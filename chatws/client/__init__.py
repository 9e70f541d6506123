"""A client of the gateway for Python programs: `ChatClient`. It needs the `websockets` library."""

from chatws.client.client import ChatClient
from chatws.client.events import Closed, Connected, Disconnected, Event, Frame, Lost, Received, Refused
from chatws.client.places import Place
from chatws.client.tokens import TokenFunction

__all__ = [
    "ChatClient", "Closed", "Connected", "Disconnected", "Event", "Frame", "Lost", "Place", "Received", "Refused",
    "TokenFunction",
]  # fmt: skip

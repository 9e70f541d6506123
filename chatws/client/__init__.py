"""A client of the gateway for Python programs: `ChatClient`. Needs the `websockets` library."""

from chatws.client.client import ChatClient, Closed, Connected, Disconnected, Lost, Received, Refused
from chatws.client.places import Place

__all__ = ["ChatClient", "Closed", "Connected", "Disconnected", "Lost", "Place", "Received", "Refused"]

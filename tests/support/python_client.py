"""A user of the Python client, which records the client's events."""

import asyncio
from collections.abc import Callable
from typing import Any

from chatws.client import ChatClient, Closed, Connected, Received
from tests.support.waiting import until_news


class User:
    """A client and the events it reported."""

    def __init__(self, client: ChatClient) -> None:
        self.client = client
        self.events: list[Any] = []
        self.raw: list[dict[str, Any]] = []
        self.closed: int | None = None
        self._news = asyncio.Event()

    async def listen(self) -> None:
        try:
            async for event in self.client:
                self.events.append(event)
                self._news.set()
        except Closed as error:
            self.closed = error.code
            self._news.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        return await until_news(self._news, condition, f"the client told {self.events}")

    def texts(self) -> list[str]:
        received = [event.frame for event in self.events if isinstance(event, Received)]
        return [frame["data"]["content"] for frame in received if frame["type"] == "new_message"]

    def has_connected(self, times: int) -> bool:
        return len(self.of(Connected)) == times

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


Enter = Callable[..., Any]

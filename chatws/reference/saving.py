"""Messages on their way into the database: those that wait for a transaction under way share the next one.

Alone, a message waits for nobody; under load a transaction's cost is that of its statements, whatever they carry.
"""

import asyncio
from collections.abc import Callable, Sequence

from django.db import InterfaceError, OperationalError

from chatws.reference import services, threads
from chatws.reference.services import NewMessage
from realtime.aio import tasks

MOST = 100
"""Messages of one transaction: what the others wait for stays short."""

_Waiting = tuple[NewMessage, "asyncio.Future[None]"]


class Saver:
    """Saves messages, in as many transactions at once as may write; ``wake`` is called after each."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: list[_Waiting] = []
        self._idle = threads.how_many_write()

    async def save(self, message: NewMessage) -> None:
        """Return once it is stored.

        Raises:
            ServiceError: it was refused.
        """
        message.require_all()
        saved = asyncio.get_running_loop().create_future()
        self._waiting.append((message, saved))
        if self._idle:
            self._idle -= 1
            tasks.spawn(self._save_all(), "saving messages")
        await saved

    async def _save_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._save(batch)
        finally:
            self._idle += 1

    async def _save(self, batch: list[_Waiting]) -> None:
        refusals: Sequence[Exception | None]
        try:
            refusals = await threads.write(services.save_messages, [message for message, _ in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, OperationalError | InterfaceError):
                for one in batch:  # one that the database won't take costs the others nothing
                    await self._save([one])
                return
            refusals = [error] * len(batch)
        self._wake()
        for (_, saved), refusal in zip(batch, refusals, strict=True):
            if saved.done():
                continue  # its caller waits no longer
            if refusal:
                saved.set_exception(refusal)
            else:
                saved.set_result(None)

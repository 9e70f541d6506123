"""Save messages in batches: messages that arrive during a transaction share the next one.

A single message does not wait. Under load a batch costs little more than one message, because the number of statements
is the same.
"""

import asyncio
from collections.abc import Callable, Sequence

from chatws.reference import services, threads
from chatws.reference.services import NewMessage
from realtime.aio import tasks
from realtime.exceptions import DatabaseUnavailable

MAX_AT_ONCE = 100
"""Most messages of one transaction, so that it stays short for the waiting ones."""

_Waiting = tuple[NewMessage, "asyncio.Future[None]"]


class Saver:
    """Saves messages in up to `how_many_write` concurrent transactions; ``wake`` is called after each."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: list[_Waiting] = []
        self._idle = threads.how_many_write()

    async def save(self, message: NewMessage) -> None:
        """Save a message; return once it is stored.

        Raises:
            ServiceError: the message was rejected.
            DatabaseUnavailable: the database can't be written to.
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
                batch, self._waiting = self._waiting[:MAX_AT_ONCE], self._waiting[MAX_AT_ONCE:]
                await self._save(batch)
        finally:
            self._idle += 1

    async def _save(self, batch: list[_Waiting]) -> None:
        refusals: Sequence[Exception | None]
        try:
            refusals = await threads.write(services.save_messages, [message for message, _ in batch])
        except Exception as error:  # passed on to the callers of all messages in the batch
            if len(batch) > 1 and not isinstance(error, DatabaseUnavailable):
                for one in batch:  # so that a message the database rejects does not fail the others
                    await self._save([one])
                return
            refusals = [error] * len(batch)
        self._wake()
        for (_, saved), refusal in zip(batch, refusals, strict=True):
            if saved.done():
                continue  # its caller was cancelled
            if refusal:
                saved.set_exception(refusal)
            else:
                saved.set_result(None)

"""Write frames by ASGI's send, for servers other than ours."""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any

from realtime.aio import tasks
from realtime.connection.outbox import Outbox
from realtime.hub.batch import Batch

Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]


class AsgiOutbox(Outbox):
    """An outbox over ASGI's ``send``, whose first step is taken by hand, because most sends end at once.

    If the server applies back-pressure, the send is finished in a task, and later frames wait in the queue.
    """

    __slots__ = ("_send", "_task")

    def __init__(self, send: Send, limit: int) -> None:
        super().__init__(limit)
        self._send = send
        self._task: asyncio.Task[None] | None = None

    def discard(self) -> None:
        super().discard()
        if self._task is not None:
            self._task.cancel()

    def _transmit(self, batch: Batch) -> None:
        texts = iter(batch.texts)
        for text in texts:
            if not self._step({"type": "websocket.send", "text": text}, texts):
                return

    def _transmit_close(self, code: int) -> None:
        self._step({"type": "websocket.close", "code": code}, iter(()))

    def _step(self, event: dict[str, Any], rest: Iterable[str]) -> bool:
        """Send one event; return whether that ended at once. Else a task finishes it, and ``rest`` behind it."""
        step = self._send(event)
        try:
            blocker = step.send(None)
        except StopIteration:
            return True
        except Exception:  # a boundary: servers raise errors of their own for a connection that has ended
            self.discard()
            return False
        self._blocked = True
        self._task = tasks.start(self._finish(step, blocker, list(rest)), "a blocked send")
        self._task.add_done_callback(self._sent)
        return False

    async def _finish(self, step: Coroutine[Any, Any, None], blocker: Any, rest: list[str]) -> None:
        await _go_on(step, blocker)
        for text in rest:
            await self._send({"type": "websocket.send", "text": text})

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._blocked = False
        if task.cancelled() or task.exception() is not None:
            self.discard()
        else:
            self._drain()


@types.coroutine
def _go_on(step: Coroutine[Any, Any, None], blocker: Any) -> Generator[Any, Any, None]:
    """Run the rest of a coroutine whose first step was taken by hand and waits for ``blocker``."""
    while True:
        try:
            value = yield blocker
        except BaseException as error:  # passed on into the coroutine, as `yield from` does
            try:
                blocker = step.throw(error)
            except StopIteration:
                return
        else:
            try:
                blocker = step.send(value)
            except StopIteration:
                return

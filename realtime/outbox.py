"""One connection's way out: frames leave in order, what a slow client doesn't take waits here, bounded.

Written to by the connection's consumer and the hub, never awaited: one slow reader delays nobody.
"""

import asyncio
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any

from realtime.close_codes import CloseCode

Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]


class Outbox:
    """A bounded queue before an ASGI ``send``.

    ``send`` is stepped by hand: as a rule it ends at once. Where the server pushes back it is finished in a task, and
    what follows waits in the queue. Over ``limit`` characters the connection is closed with 4502.
    """

    __slots__ = ("_held", "_limit", "_send", "_task", "_waiting", "_waiting_size", "closing", "frames", "size")

    def __init__(self, send: Send, limit: int) -> None:
        self._send = send
        self._limit = limit
        self._waiting: deque[dict[str, Any]] = deque()
        self._waiting_size = 0
        self._task: asyncio.Task[None] | None = None
        self._held = False
        self.closing: int | None = None
        self.frames = 0
        self.size = 0

    def write(self, text: str) -> None:
        """Send one frame, or keep it until its turn."""
        self.write_all((text,))

    def write_all(self, texts: Iterable[str]) -> None:
        """Send frames in order, or keep them until their turn. After `close` they are dropped."""
        for text in texts:
            if self.closing is not None:
                return
            self.frames += 1
            self.size += len(text)
            self._put({"type": "websocket.send", "text": text}, len(text))

    def hold(self) -> None:
        """Keep what is written until `release`."""
        self._held = True

    def release(self, first: Iterable[str]) -> None:
        """Send ``first``, then what was held back."""
        ahead = [{"type": "websocket.send", "text": text} for text in first]
        self.frames += len(ahead)
        self.size += sum(len(message["text"]) for message in ahead)
        self._waiting.extendleft(reversed(ahead))
        self._waiting_size += sum(len(message["text"]) for message in ahead)
        self._held = False
        self._drain()

    def close(self, code: int) -> None:
        """Close after what has been written; the first code given stays."""
        if self.closing is not None:
            return
        self.closing = code
        self._held = False
        self._put({"type": "websocket.close", "code": int(code)}, 0)

    def discard(self) -> None:
        """The socket is gone: forget what waits."""
        if self.closing is None:
            self.closing = CloseCode.ABNORMAL
        self._waiting.clear()
        self._waiting_size = 0
        if self._task is not None:
            self._task.cancel()

    def _put(self, message: dict[str, Any], size: int) -> None:
        self._waiting.append(message)
        self._waiting_size += size
        self._drain()
        if self._waiting_size > self._limit and self.closing is None:
            self._waiting.clear()
            self._waiting_size = 0
            self.close(CloseCode.TOO_SLOW)

    def _drain(self) -> None:
        while self._waiting and not self._held and self._task is None:
            message = self._waiting.popleft()
            self._waiting_size -= len(message.get("text", ""))
            step = self._send(message)
            try:
                blocker = step.send(None)
            except StopIteration:
                continue
            except OSError:  # the server's own word that the socket is gone
                self.discard()
                return
            self._task = asyncio.ensure_future(_finish(step, blocker))
            self._task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled() or task.exception() is not None:
            self.discard()
        else:
            self._drain()


async def _finish(step: Coroutine[Any, Any, None], blocker: Any) -> None:
    await _go_on(step, blocker)


@types.coroutine
def _go_on(step: Coroutine[Any, Any, None], blocker: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine whose first step, taken by hand, waits for ``blocker``."""
    while True:
        try:
            value = yield blocker
        except BaseException as error:
            try:
                blocker = step.throw(error)
            except StopIteration:
                return
        else:
            try:
                blocker = step.send(value)
            except StopIteration:
                return

"""One connection's way out: frames leave in order, what a slow client doesn't take waits here, bounded.

Written to by the connection's consumer and the hub, never awaited: one slow reader delays nobody.
"""

import asyncio
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, NamedTuple

from realtime.close_codes import CloseCode

Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]


class Message(NamedTuple):
    """A frame that waits, or with ``code`` the close behind all frames."""

    text: str
    is_tail: bool = False
    code: int = 0


class Outbox:
    """A bounded queue before an ASGI ``send``.

    ``send`` is stepped by hand: as a rule it ends at once. Where the server pushes back it is finished in a task, and
    what follows waits in the queue. Over ``limit`` characters the connection is closed with 4502.
    """

    __slots__ = (
        "_held", "_limit", "_send", "_task", "_waiting", "_waiting_size", "closing", "frames", "size", "tail_size",
    )  # fmt: skip

    def __init__(self, send: Send, limit: int) -> None:
        self._send = send
        self._limit = limit
        self._waiting: deque[Message] = deque()
        self._waiting_size = 0
        self._task: asyncio.Task[None] | None = None
        self._held: deque[Message] | None = None
        self.closing: int | None = None
        self.frames = 0
        self.size = 0
        self.tail_size = 0
        """Characters of tails that wait; they don't count towards the limit, else resuming would end in overflow."""

    def write(self, text: str) -> None:
        """Send one frame, or keep it until its turn."""
        self.write_all((text,))

    def write_all(self, texts: Iterable[str]) -> None:
        """Send frames in order, or keep them until their turn. After `close` they are dropped."""
        for text in texts:
            if self.closing is not None:
                return
            if self._held is None and self._task is None and not self._waiting:
                self._transmit(text, {"type": "websocket.send", "text": text})
                continue
            self._waiting_size += len(text)
            if self._held is not None:
                self._held.append(Message(text))
            else:
                self._waiting.append(Message(text))
            if self._waiting_size > self._limit:
                self._forget()
                self.close(CloseCode.TOO_SLOW)

    def hold(self) -> None:
        """Keep what is written until `release`."""
        if self._held is None:
            self._held = deque()

    def release(self, first: Iterable[str] = (), tail: Iterable[str] = ()) -> None:
        """Send ``first``, then ``tail``, which is taken as the socket drains, then what was held back."""
        held, self._held = self._held, None
        self.write_all(first)
        if self.closing is not None:
            return
        for text in tail:
            self.tail_size += len(text)
            self._waiting.append(Message(text, is_tail=True))
        self._waiting.extend(held or ())
        self._drain()

    def drop_held(self) -> None:
        """Forget what was held back: what should have stood before it will not come."""
        self._waiting_size -= sum(len(message.text) for message in self._held or ())
        self._held = None

    def close(self, code: int) -> None:
        """Close after what has been written; the first code given stays."""
        if self.closing is not None:
            return
        self.closing = code
        self._waiting.extend(self._held or ())
        self._held = None
        self._waiting.append(Message("", code=int(code)))
        self._drain()

    def discard(self) -> None:
        """The socket is gone: forget what waits."""
        if self.closing is None:
            self.closing = CloseCode.ABNORMAL
        self._forget()
        if self._task is not None:
            self._task.cancel()

    def _forget(self) -> None:
        self._waiting.clear()
        self._held = None
        self._waiting_size = self.tail_size = 0

    def _drain(self) -> None:
        while self._waiting and self._task is None:
            text, is_tail, code = self._waiting.popleft()
            if is_tail:
                self.tail_size -= len(text)
            else:
                self._waiting_size -= len(text)
            if code:
                self._transmit("", {"type": "websocket.close", "code": code})
            else:
                self._transmit(text, {"type": "websocket.send", "text": text})

    def _transmit(self, text: str, event: dict[str, Any]) -> None:
        """Give one event to the server; what doesn't end at once is finished in a task."""
        if text:
            self.frames += 1
            self.size += len(text)
        step = self._send(event)
        try:
            blocker = step.send(None)
        except StopIteration:
            return
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

"""Queue the frames of one connection: they leave in order, and wait here, bounded, while the client reads slowly.

The connection and the hub write to it and never wait: one slow reader delays nobody else.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from realtime.close_codes import CloseCode
from realtime.hub.batch import Batch, batches
from realtime.observability import metrics

TAIL_BYTES = 16_384
"""How much of a tail is written at once."""


class Waiting(NamedTuple):
    """Frames that wait; with ``code``, the close frame behind them."""

    batch: Batch
    is_tail: bool = False
    code: int = 0


@dataclass(slots=True)
class Reply:
    """What an `Outbox.holding` block wants sent before the frames that were held back."""

    first: Batch | None = None
    tail: Sequence[bytes] = ()
    """Frames that a resumed connection missed."""


class Outbox:
    """A bounded queue before the socket. Above ``limit`` bytes the connection is closed with 4502.

    Subclasses write to the socket. They set ``_blocked`` while it takes nothing.
    """

    __slots__ = ("_blocked", "_held", "_limit", "_waiting", "_waiting_size", "closing", "frames", "size", "tail_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blocked = False
        self._waiting: deque[Waiting] | None = None
        self._waiting_size = 0
        self._held: deque[Waiting] | None = None
        self.closing: int | None = None
        self.frames = 0
        self.size = 0
        self.tail_size = 0
        """Bytes of tails that wait. They don't count towards the limit, because resuming would then end in overflow."""

    def write(self, batch: Batch) -> None:
        """Send frames, or queue them behind those that wait. After `close` they are dropped."""
        if self._is_open:
            self._count(batch)
            self._transmit(batch)
        elif self.closing is None:
            self._keep(batch)

    @property
    def _is_open(self) -> bool:
        """Return whether a frame may be sent at once."""
        return self.closing is None and self._held is None and not self._blocked and not self._waiting

    @contextmanager
    def holding(self, *, drop_on_error: bool = False) -> Iterator["Reply"]:
        """Hold back what others write, until the block has set its reply; then send the reply and what was held.

        If the block raises, what was held is sent without a reply, or dropped with ``drop_on_error``.
        """
        reply = Reply()
        self.hold()
        try:
            yield reply
        except BaseException:  # also a cancellation
            if drop_on_error:
                self.drop_held()
            else:
                self.release()
            raise
        self.release(reply.first, reply.tail)

    def hold(self) -> None:
        """Hold back what is written until `release`."""
        if self._held is None:
            self._held = deque()

    def release(self, first: Batch | None = None, tail: Iterable[bytes] = ()) -> None:
        """Send ``first``, then ``tail`` as the socket drains, then what was held back."""
        held, self._held = self._held, None
        if first is not None:
            self.write(first)
        if self.closing is not None:
            return
        waiting = self._queue()
        for batch in batches(tail, TAIL_BYTES):
            self.tail_size += batch.size
            waiting.append(Waiting(batch, is_tail=True))
        waiting.extend(held or ())
        self._drain()

    def drop_held(self) -> None:
        """Drop what was held back: its reply will not be sent."""
        self._waiting_size -= sum(one.batch.size for one in self._held or ())
        self._held = None

    def close(self, code: int) -> None:
        """Close behind what has been written, but for publications that are held. A second call changes nothing."""
        if self.closing is not None:
            return
        self.closing = code
        waiting = self._queue()
        # Held publications belong behind a reply and a tail that will not be sent. The client resumes them.
        waiting.extend(one for one in self._held or () if not (one.batch.live or one.batch.ephemeral))
        self._held = None
        waiting.append(Waiting(Batch(()), code=int(code)))
        self._drain()

    def discard(self) -> None:
        """Drop what waits: the connection has ended."""
        if self.closing is None:
            self.closing = CloseCode.ABNORMAL
        self._forget()

    def _transmit(self, batch: Batch) -> None:
        """Write frames to the socket."""
        raise NotImplementedError

    def _transmit_close(self, code: int) -> None:
        """Close the socket behind what was written to it."""
        raise NotImplementedError

    def _overflow(self) -> None:
        """Close, because the client reads too slowly. It reconnects and resumes."""
        metrics.outbox_dropped.labels("overflow").inc()
        self._forget()
        self.close(CloseCode.TOO_SLOW)

    def _count(self, batch: Batch) -> None:
        self.frames += batch.count
        self.size += batch.size

    def _queue(self) -> deque[Waiting]:
        if self._waiting is None:
            self._waiting = deque()
        return self._waiting

    def _keep(self, batch: Batch) -> None:
        if 2 * (self._waiting_size + batch.size) > self._limit:  # the client is slow: ephemeral frames make room
            if batch.ephemeral:
                metrics.outbox_dropped.labels("ephemeral").inc(len(batch.frames))
                return
            self._waiting, self._held = self._without_ephemeral(self._waiting), self._without_ephemeral(self._held)
        self._waiting_size += batch.size
        queue = self._queue() if self._held is None else self._held
        queue.append(Waiting(batch))
        if self._waiting_size > self._limit:
            self._overflow()

    def _without_ephemeral(self, waiting: deque[Waiting] | None) -> deque[Waiting] | None:
        ephemeral = [one.batch for one in waiting or () if one.batch.ephemeral]
        if waiting is None or not ephemeral:
            return waiting
        metrics.outbox_dropped.labels("ephemeral").inc(sum(len(batch.frames) for batch in ephemeral))
        self._waiting_size -= sum(batch.size for batch in ephemeral)
        return deque(one for one in waiting if not one.batch.ephemeral)

    def _forget(self) -> None:
        self._waiting = self._held = None
        self._waiting_size = self.tail_size = 0

    def _drain(self) -> None:
        while self._waiting and not self._blocked:
            batch, is_tail, code = self._waiting.popleft()
            if code:
                self._transmit_close(code)
                continue
            if is_tail:
                self.tail_size -= batch.size
            else:
                self._waiting_size -= batch.size
            self._count(batch)
            self._transmit(batch)
        if not self._waiting:
            self._waiting = None  # an empty deque is 760 bytes

"""Write ready WebSocket frames to a server that takes them: ours."""

from collections.abc import Callable, Iterable

from realtime.connection.extension import Frames
from realtime.connection.outbox import Outbox
from realtime.hub.batch import Batch


class FramesOutbox(Outbox):
    """An outbox over a server that takes ready frames."""

    __slots__ = ("_frames", "_send")

    def __init__(self, frames: Frames, limit: int) -> None:
        super().__init__(limit)
        self._frames = frames
        self._send: Callable[[bytes], int] | None = None
        """The socket's `send` while a frame may be sent at once. Nearly every delivery takes this path. It touches only
        this outbox and the socket, because with many connections each object touched is a cache miss."""
        frames.flow = self

    def write(self, batch: Batch) -> None:
        if self._send is None:
            super().write(batch)
            self._look()
            return
        self.frames += batch.count
        self.size += batch.size
        wire = batch.wire
        try:
            sent = self._send(wire)
        except OSError:  # the buffer is full, or the connection lost: the transport detects that by itself
            sent = 0
        if sent < len(wire):
            self._frames.write_rest(wire[sent:])

    def hold(self) -> None:
        super().hold()
        self._send = None

    def release(self, first: Batch | None = None, tail: Iterable[bytes] = ()) -> None:
        super().release(first, tail)
        self._look()

    def drop_held(self) -> None:
        super().drop_held()
        self._look()

    def close(self, code: int) -> None:
        self._send = None
        super().close(code)

    def pause_writing(self) -> None:
        """Queue from now on: the socket's buffer is full."""
        self._blocked = True
        self._send = None

    def resume_writing(self) -> None:
        """Send what waits: the socket takes frames again."""
        self._blocked = False
        self._drain()
        self._look()

    def stop_sending(self) -> None:
        """Stop the direct path: the server drops what is still written."""
        self._send = None

    def discard(self) -> None:
        self._send = None
        super().discard()
        self._frames.flow = None

    def _look(self) -> None:
        self._send = self._frames.direct() if self._is_open else None

    def _transmit(self, batch: Batch) -> None:
        self._frames.write(batch.wire)

    def _transmit_close(self, code: int) -> None:
        self._frames.close(code)

    def _overflow(self) -> None:
        self._blocked = False  # the close must not wait for the socket to drain: that may never happen
        super()._overflow()

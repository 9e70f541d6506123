"""Track sent frames until the server replies, and repeat them on the next connection.

A message is repeated unchanged, since the server computes its id from the frame. A `join_group` has the client's
position of the moment when it is sent: what it had at the first time may have been received meanwhile, or be lost.

This module does no I/O: the client gives it a function that writes a frame, and passes it the server's frames.
"""

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from chatws.client.events import Closed, Frame, Refused, duration, encoded
from chatws.client.positions import Positions

MAX_PENDING = 1_000
MAX_PENDING_BYTES = 8_000_000
MAX_FAILURES = 3
"""How often a frame is sent if the server replies with 500."""
TRY_AGAIN = frozenset({429, 500, 503})
"""Error codes after which the same frame is retried."""
LANES = {"send_message": "messages", "join_group": "subscription", "leave_group": "subscription"}
"""Frames that are sent one after the other, for each chat group and each of these values."""


@dataclass(slots=True, eq=False)
class _Entry:
    frame: Frame
    text: bytes
    answer: asyncio.Future[Frame] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    sent: bool = False
    not_before: float = 0.0
    failures: int = 0


class Requests:
    """Frames without a reply.

    ``write`` sends a frame and returns False without a connection; ``wait`` returns the longest wait in seconds after a
    number of failures; ``positions`` are those of the client.
    """

    def __init__(self, write: Callable[[bytes], bool], wait: Callable[[int], float], positions: Positions) -> None:
        self._write = write
        self._wait = wait
        self._positions = positions
        self._entries: dict[_Entry, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def frames(self) -> list[Frame]:
        """The frames without a reply, in order."""
        return [entry.frame for entry in self._open()]

    async def ask(self, frame: Frame) -> Frame:
        """Send a frame until there is a reply, and return the reply."""
        entry = _Entry(frame, encoded(frame))
        waiting = sum(len(one.text) for one in self._entries) + len(entry.text)
        if len(self._entries) >= MAX_PENDING or waiting > MAX_PENDING_BYTES:
            raise Refused(429, "too many frames wait", frame=frame)
        self._entries[entry] = None
        try:
            self.pump()
            return await entry.answer
        finally:
            del self._entries[entry]
            self.pump()  # if it was cancelled, frames behind it may be sent now

    def answer(self, frame: Frame) -> bool:
        """Process a frame of the server; return whether it is the reply to a sent frame."""
        message_id, data = frame.get("message_id"), frame.get("data", {})
        entry = next((one for one in self._open() if one.sent and one.frame["message_id"] == message_id), None)
        if entry is None:
            return False
        code = data.get("code")
        if data.get("success") is False:
            self._refuse(entry, 500, "not stored")
        elif frame["type"] != "error":
            entry.answer.set_result(frame)
        elif code in TRY_AGAIN and (code != 500 or entry.failures < MAX_FAILURES - 1):
            entry.failures += 1
            entry.sent = False
            delay = duration(data.get("retry_after")) + random.uniform(0, self._wait(entry.failures))  # noqa: S311  # jitter
            entry.not_before = asyncio.get_running_loop().time() + delay
        elif code != 401:  # after 401 the server closes the connection, and the next one repeats the frame
            wait = duration(data.get("retry_after"))
            self._refuse(entry, code or 0, data.get("message", ""), data.get("reason", ""), wait)
        self.pump()
        return True

    def pump(self) -> None:
        """Write waiting frames; of one chat group only the first message, and the first join or leave.

        So messages are stored, and joins and leaves take effect, in the order of the calls.
        """
        loop = asyncio.get_running_loop()
        busy, soonest = set(), math.inf
        for entry in self._open():
            if kind := LANES.get(entry.frame["type"]):
                lane = f"{kind} {entry.frame.get('data', {}).get('group_id')}"
                if lane in busy:
                    continue
                busy.add(lane)
            if entry.not_before > loop.time():
                soonest = min(soonest, entry.not_before)
            elif not entry.sent:
                entry.sent = self._write(self._text(entry))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if soonest == math.inf else loop.call_at(soonest, self.pump)

    def rewind(self) -> None:
        """Mark all frames without a reply as not sent, because the connection ended."""
        for entry in self._entries:
            entry.sent = False

    def refuse_largest(self) -> None:
        """Reject the largest sent frame: the server closed the connection because a frame was too big."""
        sent = [entry for entry in self._open() if entry.sent]
        if sent:
            self._refuse(max(sent, key=lambda entry: len(entry.text)), 413, "the frame is too big")

    def end(self, code: int, message: str, reason: str) -> None:
        """End all requests with `Closed`."""
        for entry in self._open():
            entry.answer.set_exception(Closed(code, message, reason=reason, frame=entry.frame))
        if self._timer is not None:
            self._timer.cancel()

    def _text(self, entry: _Entry) -> bytes:
        if entry.frame["type"] != "join_group":
            return entry.text
        data = {**entry.frame.get("data", {})}
        data.pop("resume", None)
        if position := self._positions.get(f"group:{data.get('group_id')}"):
            data["resume"] = {"epoch": position.epoch, "offset": position.offset}
        return encoded({**entry.frame, "data": data})

    def _open(self) -> list[_Entry]:
        return [entry for entry in self._entries if not entry.answer.done()]

    def _refuse(self, entry: _Entry, code: int, message: str, reason: str = "", retry_after: float = 0.0) -> None:
        entry.answer.set_exception(
            Refused(code, message, frame=entry.frame, reason=reason, retry_after=retry_after)
        )  # fmt: skip

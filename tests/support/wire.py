"""Run a proxy before a gateway that checks all frames against the AsyncAPI document, as `tests.support.client` does."""

from collections.abc import Callable, Iterator

from tests.support.proxy import Proxy
from tests.support.raw import BINARY, CONTINUATION, TEXT
from tests.support.schemas import Exchange


class CheckedProxy(Proxy):
    """Raise AssertionError on exit if a passing frame did not match the AsyncAPI document."""

    def __init__(self, *targets: int) -> None:
        super().__init__(*targets)
        self.checked = 0
        """The number of checked frames of the server."""
        self.complaints: list[str] = []

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        assert self.complaints == []

    def _reader(self) -> Callable[[bytes, bool], None]:
        exchange = Exchange(self.complaints)
        sent, received = _Messages(), _Messages()

        def read(data: bytes, is_answer: bool) -> None:
            for text in (received if is_answer else sent).of(data):
                (exchange.received if is_answer else exchange.sent)(text)
                self.checked += is_answer

        return read


class _Messages:
    """Yield the messages of one direction of a connection; none if it is not a WebSocket."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._message = bytearray()
        self._is_open = False

    def of(self, data: bytes) -> Iterator[bytes]:
        """Return the messages that end in these bytes."""
        self._rest += data
        if not self._is_open:
            head, end, rest = self._rest.partition(b"\r\n\r\n")
            self._is_open = bool(end) and b"upgrade: websocket" in head.lower()
            if not self._is_open:
                return
            self._rest = rest
        while (frame := self._frame()) is not None:
            first, payload = frame
            if first & 15 in (CONTINUATION, TEXT, BINARY):
                self._message += payload
                if first & 0x80:
                    yield bytes(self._message)
                    self._message.clear()

    def _frame(self) -> tuple[int, bytes] | None:
        """Return the next frame's first byte and payload once the frame is complete."""
        if len(self._rest) < 2:
            return None
        first, second = self._rest[:2]
        more = {126: 2, 127: 8}.get(second & 127, 0)
        start = 2 + more + (4 if second & 128 else 0)
        if len(self._rest) < start:
            return None
        size = int.from_bytes(self._rest[2 : 2 + more]) if more else second & 127
        if len(self._rest) < start + size:
            return None
        payload = bytes(self._rest[start : start + size])
        if second & 128:
            mask = bytes(self._rest[start - 4 : start]) * (size // 4 + 1)
            payload = (int.from_bytes(payload) ^ int.from_bytes(mask[:size])).to_bytes(size)
        del self._rest[: start + size]
        return first, payload

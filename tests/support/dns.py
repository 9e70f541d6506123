"""Answer a resolver's questions for IPv4 addresses, on the loopback."""

import socketserver
import struct
import threading
from typing import Self

TYPE_A = 1


class Names:
    """A DNS server in a thread. Its answers are what ``addresses`` has at that moment; it is a context manager."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self.addresses = addresses
        names = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                question, back = self.request
                back.sendto(names._answer(question), self.client_address)

        self._server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, message: bytes) -> bytes:
        """Return the answer to a question for one name: its address, or none of this type."""
        labels, at = [], 12
        while length := message[at]:
            labels.append(message[at + 1 : at + 1 + length].decode())
            at += 1 + length
        [kind] = struct.unpack_from("!H", message, at + 1)
        address = self.addresses.get(".".join(labels)) if kind == TYPE_A else None
        head = message[:2] + struct.pack("!5H", 0x8180, 1, int(address is not None), 0, 0) + message[12 : at + 5]
        if address is None:
            return head
        return head + struct.pack("!3HIH4B", 0xC00C, TYPE_A, 1, 1, 4, *map(int, address.split(".")))

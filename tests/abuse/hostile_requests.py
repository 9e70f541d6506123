"""Be hostile to a gateway in a process of its own: floods, slow bodies, slow readers, wrong logins, giant headers, …

`python -m tests.abuse.hostile_requests PORT --count N --seconds S` prints how many it made of each kind. Each comes
from an address of its own, as a proxy would tell it.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.support.raw import TEXT, frame_of

GIANT = 200_000
"""Bytes: what a client would send of a body or of headers that it announces as much larger."""
READ_SLOWLY_SECONDS = 0.5
WHOLE = {"flood", "unknown_path", "wrong_login", "wrong_admin_login", "wrong_token", "made_up_groups"}
"""The kinds that send all that they announce, so that each must be answered."""

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Attacker:
    """Makes one hostile request after the other, each from another of ``addresses``."""

    def __init__(self, port: int, seed: int, tokens: list[str], patience: float) -> None:
        self._port = port
        self._patience = patience
        self._random = random.Random(seed)
        self._tokens = tokens
        self.made: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        """The status of each HTTP answer, and how the others ended."""
        self.unanswered: Counter[str] = Counter()
        """Whole requests, and frames that need an answer, which had none; by kind."""
        self._kinds: list[Callable[[], Awaitable[str]]] = [
            self.flood, self.unknown_path, self.slow_header, self.slow_body, self.giant_body, self.endless_chunks,
            self.giant_header, self.slow_reader, self.wrong_login, self.wrong_admin_login, self.wrong_token,
            self.silent_connection, self.silent_socket, self.garbage, self.made_up_groups, self.deaf_socket,
        ]  # fmt: skip

    async def run(self, count: int, seconds: float) -> None:
        """Make ``count`` of them, evenly over so many seconds."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number * seconds / count - time.monotonic()))
                group.create_task(self._one(self._random.choice(self._kinds)))

    async def _one(self, kind: Callable[[], Awaitable[str]]) -> None:
        outcome = "given up"
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, EOFError):
            async with asyncio.timeout(self._patience):
                outcome = await kind()
        self.made[kind.__name__] += 1
        self.outcomes[outcome] += 1
        if kind.__name__ in WHOLE and not outcome.isdecimal():
            self.unanswered[kind.__name__] += 1

    # What an HTTP client does

    async def flood(self) -> str:
        """Ask many times on one connection, without waiting for the answers."""
        reader, writer = await self._connect()
        paths = ("/health", "/ready", "/api/groups", "/stats", "/")
        writer.write(b"".join(self._request(self._random.choice(paths)) for _ in range(20)))
        return await self._status(reader, writer)

    async def unknown_path(self) -> str:
        return await self._ask(self._request(f"/{self._random.getrandbits(64):x}/%2e%2e/{'a' * 500}"))

    async def slow_header(self) -> str:
        """Send a header byte by byte."""
        reader, writer = await self._connect()
        return await self._drip(reader, writer, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")

    async def slow_body(self) -> str:
        """Send a body byte by byte, behind a good request on the same connection."""
        reader, writer = await self._connect()
        writer.write(self._request("/health"))
        await reader.readuntil(b"OK")
        return await self._drip(reader, writer, self._request("/api/token/", "POST", length=10_000))

    async def giant_body(self) -> str:
        """Announce 1.5 GB, and begin to send it."""
        path = self._random.choice(["/health", "/api/token/", "/admin/login/", "/none"])
        return await self._push(self._request(path, "POST", length=1_500_000_000))

    async def endless_chunks(self) -> str:
        path = self._random.choice(["/health", "/api/token/", "/none"])
        head = self._request(path, "POST", "Transfer-Encoding: chunked")
        return await self._push(head, b"1000\r\n" + b"x" * 4096 + b"\r\n")

    async def giant_header(self) -> str:
        return await self._push(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Giant: ")

    async def slow_reader(self) -> str:
        """Ask for large files and read a kilobyte at a time."""
        reader, writer = await self._connect()
        path = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
        writer.write(self._request(path) * 4)
        while await reader.read(1024):
            await asyncio.sleep(READ_SLOWLY_SECONDS)
        writer.close()
        return "ended"

    async def wrong_login(self) -> str:
        body = json.dumps({"username": "alice", "password": f"{self._random.getrandbits(32)}"}).encode()
        head = self._request("/api/token/", "POST", "Content-Type: application/json", length=len(body))
        return await self._ask(head + body)

    async def wrong_admin_login(self) -> str:
        csrf = 32 * "a"  # any token will do that cookie and form agree on
        body = f"username=admin&password=wrong&csrfmiddlewaretoken={csrf}".encode()
        form = "Content-Type: application/x-www-form-urlencoded"
        head = self._request("/admin/login/", "POST", form, f"Cookie: csrftoken={csrf}", length=len(body))
        return await self._ask(head + body)

    async def wrong_token(self) -> str:
        return await self._ask(self._request("/api/groups", "GET", "Authorization: Bearer made.up.token"))

    # What a socket does

    async def silent_connection(self) -> str:
        reader, writer = await self._connect()
        await reader.read()
        writer.close()
        return "ended"

    async def silent_socket(self) -> str:
        """Open a WebSocket with a long user agent and never authenticate."""
        reader, writer = await self._upgrade(f"User-Agent: {'M' * 6_000}")
        await reader.read()
        writer.close()
        return "ended"

    async def garbage(self) -> str:
        reader, writer = await self._upgrade(self._bearer())
        for _ in range(40):
            writer.write(frame_of(0x80 | TEXT, self._random.randbytes(50).hex().encode()))
        await reader.read()
        writer.close()
        return "ended"

    async def made_up_groups(self) -> str:
        """Join, leave, ask and send to groups that don't exist."""
        reader, writer = await self._upgrade(self._bearer())
        for number in range(60):
            group = f"{self._random.getrandbits(200):x}"
            kind = ("join_group", "leave_group", "send_message", "presence", "history", "typing", "mark_read")[
                number % 7
            ]
            data = {"group_id": group, "msg_type": 1, "content": "x", "message_id": "m", "typing": True}
            frame = {"type": kind, "message_id": f"h{number}", "timestamp": 1, "data": data}
            writer.write(frame_of(0x80 | TEXT, json.dumps(frame).encode()))
            await writer.drain()
            await asyncio.sleep(0.05)
        await reader.readuntil(b'"h59"')  # the answer to the last frame
        writer.close()
        return "200"

    async def deaf_socket(self) -> str:
        """Ask and never read."""
        _, writer = await self._upgrade(self._bearer())
        ping = json.dumps({"type": "ping", "message_id": "p" * 60, "timestamp": 1, "data": {}}).encode()
        for _ in range(100):
            writer.write(frame_of(0x80 | TEXT, ping))
            await asyncio.sleep(0.1)
        writer.transport.abort()
        return "ended"

    # How

    def _address(self) -> str:
        return f"203.0.113.{self._random.randrange(1, 255)}"

    def _bearer(self) -> str:
        return f"Authorization: Bearer {self._random.choice(self._tokens)}"

    def _request(self, path: str, method: str = "GET", *headers: str, length: int | None = None) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"X-Forwarded-For: {self._address()}", *headers]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def _connect(self) -> Peer:
        return await asyncio.open_connection("127.0.0.1", self._port, limit=4096)

    async def _upgrade(self, *headers: str) -> Peer:
        reader, writer = await self._connect()
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        wanted = ("Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")
        writer.write(self._request("/ws", "GET", *wanted, *headers))
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def _ask(self, request: bytes) -> str:
        reader, writer = await self._connect()
        writer.write(request)
        return await self._status(reader, writer)

    async def _status(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        status = await _status(reader)
        writer.transport.abort()
        return status

    async def _drip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begin: bytes) -> str:
        writer.write(begin)
        ended = asyncio.ensure_future(_status(reader))
        while not ended.done():
            writer.write(b"x")
            await asyncio.wait([ended], timeout=0.3)
        writer.transport.abort()
        return ended.result()

    async def _push(self, head: bytes, piece: bytes = b"x" * 4096) -> str:
        """Send pieces until there is an answer, the connection ends, or enough was sent."""
        reader, writer = await self._connect()
        writer.write(head)
        ended = asyncio.ensure_future(_status(reader))
        try:
            for _ in range(GIANT // len(piece)):
                if ended.done():
                    break
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            return await ended
        finally:
            ended.cancel()
            writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> str:
    """Return the status of the next answer; an earlier one may have left the end of its body."""
    while line := await reader.readline():
        if line.startswith(b"HTTP/"):
            return line.split()[1].decode()
    return "ended"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.abuse.hostile_requests", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=15.0, help="seconds that each goes on at most")
    parser.add_argument("--tokens", default="", help="tokens of users without groups, comma-separated")
    given = parser.parse_args()
    attacker = Attacker(given.port, given.seed, given.tokens.split(","), given.patience)
    asyncio.run(attacker.run(given.count, given.seconds))
    print(json.dumps({"made": attacker.made, "outcomes": attacker.outcomes, "unanswered": attacker.unanswered.total()}))  # noqa: T201


if __name__ == "__main__":
    main()
